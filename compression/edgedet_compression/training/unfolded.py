"""3 x 3 convolutions as one product of matrices: a training step of deep layers in bf16 in less time.

Chellapilla et al. 2006, "High Performance Convolutional Neural Networks for Document Processing": the 3 x 3 pixels that
an output reads, over all channels, become a row of a matrix X [n · H · W, 9 · c], and

    Y = X Wᵀ,    ∂L/∂W = (∂L/∂Y)ᵀ X,    ∂L/∂X = ∂L/∂Y W,

and the gradient of a pixel is the sum of all that rows hold of it. X takes 9 times the memory of the images, which is
little where maps are small; there the direct form's kernels keep few of the processor's multipliers busy, its
gradients' above all.
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Tried by hand on two cores with AMX, 125 images a batch: 8 x 8 pixels of 256 channels are as fast in the direct form.
_CHANNELS = 64 * 64
"""Inputs times outputs, at least."""
_PIXELS = 16
"""Of a map, at most."""


def pays(images: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` in bf16 is faster than the direct form: where autocast asks for bf16, on small deep maps."""
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
        and torch.float64 not in (images.dtype, weight.dtype)  # which autocast leaves as they are
        and weight.shape[0] * weight.shape[1] >= _CHANNELS
        and images.shape[2] * images.shape[3] <= _PIXELS
    )


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """The convolution of images [n, c, H, W] with weight [o, c, 3, 3] of the same type, stride 1 and padding 1.

    [n, o, H, W], channels last; differentiable once.
    """
    outputs: Tensor = _Convolution.apply(images, weight)  # type: ignore[no-untyped-call]
    return outputs


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        rows = _rows(images)
        ctx.save_for_backward(rows, weight)
        n, _, height, width = images.shape
        return (rows @ _filters(weight).T).view(n, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        outs, ins = weight.shape[:2]
        images_gradient = weight_gradient = None
        of_outputs = gradient.permute(0, 2, 3, 1).reshape(-1, outs)
        if ctx.needs_input_grad[0]:
            images_gradient = _from_rows(of_outputs @ _filters(weight), (len(gradient), ins, *gradient.shape[2:]))
        if ctx.needs_input_grad[1]:
            taps = of_outputs.T @ rows
            weight_gradient = taps.view(outs, 3, 3, ins).permute(0, 3, 1, 2)
        return images_gradient, weight_gradient


def _rows(images: Tensor) -> Tensor:
    """Images [n, c, H, W] as what each output reads, [n · H · W, 9 · c]."""
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    patches = padded.unfold(1, 3, 1).unfold(2, 3, 1)
    return patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, 9 * images.shape[1])


def _from_rows(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The transpose of `_rows`: what rows hold of each pixel, summed in fp32 at least, images of `shape`."""
    n, channels, height, width = shape
    patches = rows.view(n, height, width, 3, 3, channels)
    exact = torch.promote_types(rows.dtype, torch.float32)
    padded = rows.new_zeros(n, height + 2, width + 2, channels, dtype=exact)
    for y, x in itertools.product(range(3), repeat=2):
        padded[:, y : y + height, x : x + width] += patches[:, :, :, y, x]
    return padded[:, 1:-1, 1:-1].to(rows.dtype).permute(0, 3, 1, 2)


def _filters(weight: Tensor) -> Tensor:
    """A weight [o, c, 3, 3] as rows [o, 9 · c]; of one that lies channels last, a view."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)
