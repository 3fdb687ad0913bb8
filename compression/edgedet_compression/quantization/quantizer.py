"""What all learned quantizers are: a grid of integer codes, a scale for each group of values, a gradient rule."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_SCALE = 1e-8
_SHARES = torch.linspace(0.1, 1.0, 46)
"""Candidate scales, as shares of the one that clips nothing."""
_SAMPLE = 2**17
"""Values of a tensor that are enough to choose its scale."""


@dataclass(frozen=True)
class Grid:
    """Codes low…high; value = scale · code."""

    low: int
    high: int

    @property
    def zero_point(self) -> int:
        """What is added where codes are stored as 0…(high - low)."""
        return -self.low


class Quantizer(nn.Module, ABC):
    """Values to codes of a grid and back, with learned scales; one scale, or one for each entry of the first axis.

    Parameters have one axis, so that `training.optimizer` lets none of them decay.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """Float32 [1] or [channels], above 0."""

    @abstractmethod
    def fake_quantize(self, values: Tensor) -> Tensor:
        """`dequantize(codes(values))`, with the quantizer's own gradients."""

    @abstractmethod
    def set_scale(self, scale: Tensor) -> None:
        """Begin with a scale [1] or [channels], or the nearest one that the quantizer can have."""

    def codes(self, values: Tensor) -> Tensor:
        """Nearest codes, halves to even, clipped: whole numbers in float32."""
        exact = values.detach().float() / along_first_axis(self.scale.detach(), values)
        return exact.round().clamp(self.grid.low, self.grid.high)

    def dequantize(self, codes: Tensor) -> Tensor:
        """The values of codes."""
        return codes * along_first_axis(self.scale, codes)

    def start(self, values: Tensor) -> None:
        """Begin with the scales that lose least of `values`."""
        count = len(self.scale)
        self.set_scale(least_squares_scale(values.detach().float().reshape(count, -1), self.grid))


def along_first_axis(scale: Tensor, values: Tensor) -> Tensor:
    """Scales [1] or [channels] in a shape that multiplies `values` [channels, …]."""
    return scale if len(scale) == 1 else scale.view(-1, *(1,) * (values.ndim - 1))


def least_squares_scale(values: Tensor, grid: Grid) -> Tensor:
    """For every row of values [rows, n] the scale with the least squared error; 1 for a row of zeros.

    Of a long row some values are looked at, always the same: at random, since every k-th one would see few columns of a
    map whose width has a factor in common with k.
    """
    length = values.shape[1]
    if length > _SAMPLE:
        places = torch.randint(length, (_SAMPLE,), generator=torch.Generator().manual_seed(0))
        values = values[:, places.to(values.device)]
    needed = values.amax(1) / grid.high
    if grid.low < 0:
        needed = torch.maximum(needed, values.amin(1) / grid.low)
    needed = torch.where(needed > SMALLEST_SCALE, needed, 1.0)
    candidates = needed[:, None] * _SHARES
    errors = torch.stack([_squared_error(values, scale[:, None], grid) for scale in candidates.unbind(1)], dim=1)
    return candidates.gather(1, errors.argmin(1, keepdim=True)).squeeze(1)


def _squared_error(values: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    codes = (values / scale).round_().clamp_(grid.low, grid.high)
    return (codes * scale - values).square_().sum(1)


def round_through(values: Tensor) -> Tensor:
    """Halves to even; the gradient passes as if nothing had been rounded (Bengio et al. 2013, "straight-through")."""
    return values + (values.round() - values).detach()


def gradient_times(values: Tensor, factor: float) -> Tensor:
    """The same values, their gradient times `factor`."""
    scaled: Tensor = _GradientTimes.apply(values, factor)  # type: ignore[no-untyped-call]
    return scaled


class _GradientTimes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
