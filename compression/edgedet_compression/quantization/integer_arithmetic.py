"""A low-bit network's arithmetic on codes, rounded as ONNX Runtime's integer kernels round it.

Codes are whole numbers in float32, centered (stored code - zero point). Sums of products stay below 2^24, where float32
is exact whatever the order; then comes one float32 multiplication by s_x·s_w/s_y, and round half to even. The formulas
are those of `edgedet_runtime.backends.reference`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.quantization.quantizer import Grid, Quantizer

_LARGEST_BIAS = 2.0**24
"""Beyond it float32 is not exact."""
_FALLBACK_BIAS = 2.0**20


@dataclass(frozen=True)
class IntegerLayer:
    """A layer with its BatchNorm: value = input scale · scales[out] · (Σ codes · input codes + bias[out])."""

    codes: Tensor
    """[out, in/group, …] as the layer's weight."""
    scales: Tensor
    """Float32 [out], above 0."""
    bias: Tensor
    """Whole numbers [out]."""


def integer_layer(
    layer: nn.Conv2d | nn.Linear,
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None,
    quantizer: Quantizer,
    input_scale: Tensor,
) -> IntegerLayer:
    """Take the BatchNorm in: γ·(s·q·x + b - μ)/√(σ² + ε) + β changes a channel's scale and bias, and no code.

    So the network learns with BatchNorm as it is, and folding costs nothing: what is folded is the scale. A negative γ
    changes the sign of the codes. A channel that γ leaves next to nothing of is its constant alone.
    """
    scales = quantizer.scale.detach().double().expand(len(layer.weight))
    bias = torch.zeros_like(scales) if layer.bias is None else layer.bias.double()
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        scales = scales * factor
        bias = norm.bias.double() + (bias - norm.running_mean.double()) * factor
    codes = quantizer.codes(layer.weight) * _by_channel(scales.sign().float(), layer.weight)
    unit = input_scale.double()
    lost = scales.abs() * unit * _LARGEST_BIAS <= bias.abs()
    constant = torch.where(bias == 0, 1.0, bias.abs() / (unit * _FALLBACK_BIAS))
    codes = torch.where(_by_channel(lost, codes), 0.0, codes)
    exact = torch.where(lost, constant, scales.abs()).float()
    return IntegerLayer(codes, exact, (bias / (unit * exact.double())).round().float())


def weighted(layer: nn.Conv2d | nn.Linear, source: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What a layer makes of `source` with another weight."""
    if isinstance(layer, nn.Linear):
        return functional.linear(source, weight, bias)
    return functional.conv2d(source, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def layer_sums(layer: nn.Conv2d | nn.Linear, integers: IntegerLayer, codes: Tensor) -> Tensor:
    """Σ codes · input codes + bias, [n, out, …]; the bias comes last, as a kernel that begins with it may round."""
    sums = weighted(layer, codes, integers.codes)
    return sums + integers.bias.view(-1, *(1,) * (sums.ndim - 2))


def requantized(sums: Tensor, multiplier: Tensor, grid: Grid) -> Tensor:
    """Codes of sums [n, channels, …]; `multiplier` float32 [channels]. A grid that begins at 0 is the ReLU."""
    return _saturated(sums * multiplier.view(-1, *(1,) * (sums.ndim - 2)), grid)


def added(left: Tensor, right: Tensor, ratios: tuple[Tensor, Tensor], grids: tuple[Grid, Grid], target: Grid) -> Tensor:
    """fma(a, r_a, fma(b, r_b, z - (r_a·z_a + r_b·z_b))) on stored codes; float64 holds each product exactly."""
    (first, second), (zero_a, zero_b) = ratios, (grid.zero_point for grid in grids)
    constant = target.zero_point - (first * zero_a + second * zero_b)
    inner = ((right + zero_b).double() * second.double() + constant.double()).float()
    value = ((left + zero_a).double() * first.double() + inner.double()).float()
    return (value.round() - target.zero_point).clamp_(target.low, target.high)


def narrowed(codes: Tensor, scale: Tensor, target_scale: Tensor, grid: Grid) -> Tensor:
    """Other codes for the same values: a table of the source's codes."""
    return _saturated(codes * scale / target_scale, grid)


def averaged(codes: Tensor, scale: Tensor, target_scale: Tensor, grid: Grid) -> Tensor:
    """Codes of the means over whole maps, [n, channels, 1, 1]."""
    pixels = float(codes[0, 0].numel())
    sums = codes.sum(dim=(2, 3), keepdim=True)
    return _saturated(sums * (scale / (target_scale * pixels)), grid)


def _saturated(values: Tensor, grid: Grid) -> Tensor:
    return values.round().clamp_(grid.low, grid.high)


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.ndim - 1))
