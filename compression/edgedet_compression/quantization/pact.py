"""Parameterized clipping activation (Choi et al. 2018, "PACT"): a ReLU with a learned upper end α.

y = clip(x, 0, α), ŷ = round(y·Q_P/α)·α/Q_P (equations 1 and 2 of the paper); ∂ŷ/∂α = 1 where x ≥ α and 0 below, where
LSQ has round(v) - v. An L2 penalty on α keeps it small: `clip_penalty`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgedet_compression.quantization.quantizer import SMALLEST_SCALE, Grid, Quantizer, round_through


class Pact(Quantizer):
    """One clip; codes 0…Q_P."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.clip = nn.Parameter(torch.ones(1))

    @property
    def scale(self) -> Tensor:
        """α/Q_P."""
        return self.clip.abs().clamp_min(SMALLEST_SCALE * self.grid.high) / self.grid.high

    def set_scale(self, scale: Tensor) -> None:
        """Begin with the clip that has this scale."""
        with torch.no_grad():
            self.clip.copy_(scale * self.grid.high)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Rounded to the grid."""
        scale = self.scale.detach()
        top = self.scale * self.grid.high
        clipped = torch.where(values < top.detach(), values.float().clamp_min(0), top)
        return (round_through(clipped / scale) * scale).to(values.dtype)


def clip_penalty(l2: float) -> Callable[[nn.Module], Tensor]:
    """A term of the loss: Σ l2·α² over all learned clips (scalar), for `training.loop.Methods.penalty`."""

    def penalty(network: nn.Module) -> Tensor:
        clips: list[Tensor] = [module.clip for module in network.modules() if isinstance(module, Pact)]
        return l2 * torch.cat(clips).square().sum() if clips else torch.zeros(())

    return penalty
