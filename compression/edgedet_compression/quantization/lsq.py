"""Learned step size quantization (Esser et al. 2020, "LSQ"): of weights, and as a ReLU whose upper end is learned.

With v = x/s and codes Q_N…Q_P (equations 1 to 3 of the paper):
x̂ = s·round(clip(v, Q_N, Q_P)); ∂x̂/∂x = 1 inside the range, 0 outside;
∂x̂/∂s = round(v) - v inside, Q_N below, Q_P above. The gradient of s is taken times g = 1/√(N·Q_P), N values to a step.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedet_compression.quantization.quantizer import SMALLEST_SCALE, Grid, Quantizer, along_first_axis


class Lsq(Quantizer):
    """`steps` scales; `batched`: values are [batch, …], and N counts those of one sample.

    On the codes 0…15 it is the parametrized ReLU: what is below 0 becomes 0, what is above 15 steps the learned clip.
    """

    def __init__(self, grid: Grid, steps: int = 1, *, batched: bool = False) -> None:
        super().__init__(grid)
        self.step = nn.Parameter(torch.ones(steps))
        self.batched = batched

    @property
    def scale(self) -> Tensor:
        """The step; a training step that takes it below 0 does no harm."""
        return self.step.abs().clamp_min(SMALLEST_SCALE)

    def set_scale(self, scale: Tensor) -> None:
        """Begin with these steps."""
        with torch.no_grad():
            self.step.copy_(scale)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Rounded to the grid, in the dtype of `values`."""
        sharing = values[0].numel() if self.batched else values.numel() // len(self.step)
        factor = 1 / math.sqrt(sharing * self.grid.high)
        scale = along_first_axis(self.scale, values)
        rounded: Tensor = _Lsq.apply(values, scale, self.grid, factor)  # type: ignore[no-untyped-call]
        return rounded


class _Lsq(torch.autograd.Function):
    """Written out: composed of torch's operations it would take several times the memory and passes.

    With ∂L/∂x = g·inside, the sum over g·(round(clip(v)) - v·inside) is Σ g·x̂/s - Σ ∂L/∂x·x/s: two sums of products.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, grid: Grid, factor: float) -> Tensor:
        exact = values.float() / scale
        rounded = exact.clamp(grid.low, grid.high).round_().mul_(scale).to(values.dtype)
        ctx.save_for_backward(exact, scale, rounded)
        ctx.grid, ctx.factor = grid, factor
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gradient = gradients[0].float()
        exact, scale, rounded = ctx.saved_tensors
        # One pass; it leaves out its two ends: hence the numbers next to the grid's, which are inside.
        low = float(np.nextafter(np.float32(ctx.grid.low), np.float32(-np.inf)))
        high = float(np.nextafter(np.float32(ctx.grid.high), np.float32(np.inf)))
        to_values = torch.ops.aten.hardtanh_backward(gradient, exact, low, high)
        products = _products(gradient, rounded.float(), scale) / scale
        to_scale = (products - _products(to_values, exact, scale)) * ctx.factor
        return to_values.to(rounded.dtype), to_scale, None, None


def _products(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Σ left·right over the values of each scale, in the shape of `scale`."""
    return (left * right).sum_to_size(scale.shape)
