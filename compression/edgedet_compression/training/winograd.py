"""3 x 3 convolutions by Winograd's minimal filtering: a training step of wide networks in less time.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks": a tile of m x m outputs is

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A

of the filter g [3, 3] and the inputs d [m + 2, m + 2] that it reads; over all channels ⊙ becomes one matrix product for
each of the (m + 2)² positions. 4 x 4 outputs take 36 multiplications a channel in place of 144, so do both gradients.
The price is rounding: outputs and gradients differ from the direct form's by some 1e-5 of the largest (fp32, m = 4).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# From where the products outweigh the transforms, tried by hand on two cores with AVX2.
_CHANNELS = 64 * 64
"""Inputs times outputs: 32 to 64 channels are slower than in the direct form."""
_TILES = 32
"""Of all images of a batch: with half of them 512 to 512 channels are slower."""


def _of_planes(rows: Sequence[Sequence[float]]) -> Tensor:
    """The matrix that does to the flat plane M X Mᵀ what `rows` = M does to a column."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix)


# Of m: Bᵀ of inputs, G of filters, Aᵀ of outputs, each for planes.
_TRANSFORMS = {
    2: (
        _of_planes([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        _of_planes([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
        _of_planes([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
    4: (
        _of_planes(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ]
        ),
        _of_planes(
            [
                [1 / 4, 0, 0],
                [-1 / 6, -1 / 6, -1 / 6],
                [-1 / 6, 1 / 6, -1 / 6],
                [1 / 24, 1 / 12, 1 / 6],
                [1 / 24, -1 / 12, 1 / 6],
                [0, 0, 1],
            ]
        ),
        _of_planes([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
    ),
}


def pays(images: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` is faster than the direct form: with many channels, where maps are large or batches are."""
    return (
        images.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and weight.shape[0] * weight.shape[1] >= _CHANNELS
        and images.shape[2] % 2 == images.shape[3] % 2 == 0
        and images[:, 0].numel() >= _TILES * _tile_side(images) ** 2
    )


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """The convolution of images [n, c, H, W], H and W even, with weight [o, c, 3, 3], stride 1 and padding 1.

    [n, o, H, W], channels last; differentiable once.
    """
    outputs: Tensor = _Convolution.apply(images, weight)  # type: ignore[no-untyped-call]
    return outputs


class _Convolution(torch.autograd.Function):
    """Planes are the first dimension of all that is transformed: [(m + 2)², tiles, channels]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        m = _tile_side(images)
        of_inputs, of_filters, of_outputs = (matrix.to(weight.dtype) for matrix in _TRANSFORMS[m])
        outs, ins = weight.shape[:2]
        inputs = (of_inputs @ _input_tiles(images, m)).view(len(of_inputs), -1, ins)
        filters = (of_filters @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(-1, outs, ins)
        ctx.save_for_backward(inputs, filters)
        ctx.shape, ctx.m = images.shape, m
        products = torch.bmm(inputs, filters.transpose(1, 2))
        return _from_output_tiles(of_outputs @ products.flatten(1), (images.shape[0], outs, *images.shape[2:]), m)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Every map of `forward` is linear, so its gradient is the transpose."""
        inputs, filters = ctx.saved_tensors
        of_inputs, of_filters, of_outputs = (matrix.to(gradient.dtype) for matrix in _TRANSFORMS[ctx.m])
        outs, ins = filters.shape[1:]
        products = (of_outputs.T @ _output_tiles(gradient, ctx.m)).view(len(of_inputs), -1, outs)
        images_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            tiles = of_inputs.T @ torch.bmm(products, filters).flatten(1)
            images_gradient = _from_input_tiles(tiles, ctx.shape, ctx.m)
        if ctx.needs_input_grad[1]:
            taps = of_filters.T @ torch.bmm(products.transpose(1, 2), inputs).flatten(1)
            weight_gradient = taps.view(3, 3, outs, ins).permute(2, 3, 0, 1)
        return images_gradient, weight_gradient


def _tile_side(images: Tensor) -> int:
    """m, for images [n, c, H, W]."""
    return 2 if images.shape[2] % 4 or images.shape[3] % 4 else 4


def _input_tiles(images: Tensor, m: int) -> Tensor:
    """Images [n, c, H, W] as the overlapping tiles that outputs read, [(m + 2)², n · H/m · W/m · c]."""
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, m + 2, m).unfold(2, m + 2, m)
    return tiles.permute(4, 5, 0, 1, 2, 3).reshape((m + 2) ** 2, -1)


def _from_input_tiles(tiles: Tensor, shape: torch.Size, m: int) -> Tensor:
    """The transpose of `_input_tiles`: sums where tiles overlap, images of `shape`."""
    n, channels, height, width = shape
    rows, columns = height // m, width // m
    tiles = tiles.view(m + 2, m + 2, n, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    padded = tiles.new_zeros(n, rows + 1, m, columns + 1, m, channels)
    padded[:, :-1, :, :-1] += tiles[:, :, :m, :, :m]
    padded[:, 1:, :2, :-1] += tiles[:, :, m:, :, :m]
    padded[:, :-1, :, 1:, :2] += tiles[:, :, :m, :, m:]
    padded[:, 1:, :2, 1:, :2] += tiles[:, :, m:, :, m:]
    images = padded.view(n, height + m, width + m, channels)[:, 1 : height + 1, 1 : width + 1]
    return images.contiguous().permute(0, 3, 1, 2)


def _output_tiles(outputs: Tensor, m: int) -> Tensor:
    """Outputs [n, o, H, W] as tiles side by side, [m², n · H/m · W/m · o]."""
    n, channels, height, width = outputs.shape
    tiles = outputs.permute(0, 2, 3, 1).reshape(n, height // m, m, width // m, m, channels)
    return tiles.permute(2, 4, 0, 1, 3, 5).reshape(m * m, -1)


def _from_output_tiles(tiles: Tensor, shape: tuple[int, ...], m: int) -> Tensor:
    """The inverse of `_output_tiles`, and its transpose: outputs of `shape`."""
    n, channels, height, width = shape
    tiles = tiles.view(m, m, n, height // m, width // m, channels).permute(2, 3, 0, 4, 1, 5)
    return tiles.reshape(n, height, width, channels).contiguous().permute(0, 3, 1, 2)
