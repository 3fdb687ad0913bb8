"""Trained quantization thresholds (Jain et al. 2020, "TQT"): scales are powers of 2, their logarithm is learned.

s = 2^⌈log2 t⌉ / 2^(b-1) (equation 4 of the paper); the gradient goes straight through ⌈·⌉ and round, which gives
∂x̂/∂log2 t = s·ln 2·(round(v) - v inside the range, Q_N below, Q_P above), v = x/s (equations 6 to 8). The paper norms
this gradient by Adam; under SGD it gets LSQ's factor 1/√(N·Q_P).
"""

import math

import torch
from torch import Tensor, nn

from edgedet_compression.quantization.quantizer import (
    Grid,
    Quantizer,
    along_first_axis,
    gradient_times,
    round_through,
)


class Tqt(Quantizer):
    """`steps` thresholds; codes -Q_P…Q_P, 2^(b-1) = Q_P + 1."""

    def __init__(self, grid: Grid, steps: int = 1) -> None:
        super().__init__(grid)
        self.log2_threshold = nn.Parameter(torch.zeros(steps))

    @property
    def scale(self) -> Tensor:
        """A power of 2 by the threshold, rounded up."""
        return self._scale(self.log2_threshold)

    def set_scale(self, scale: Tensor) -> None:
        """Begin with the nearest powers of 2, in the middle between two changes."""
        with torch.no_grad():
            self.log2_threshold.copy_(torch.log2(scale * (self.grid.high + 1)).round() - 0.5)

    def fake_quantize(self, values: Tensor) -> Tensor:
        """Rounded to the grid."""
        sharing = values.numel() // len(self.log2_threshold)
        learned = gradient_times(self.log2_threshold, 1 / math.sqrt(sharing * self.grid.high))
        scale = along_first_axis(self._scale(learned), values)
        exact = (values.float() / scale).clamp(self.grid.low, self.grid.high)
        return (round_through(exact) * scale).to(values.dtype)

    def _scale(self, log2_threshold: Tensor) -> Tensor:
        whole = log2_threshold + (log2_threshold.ceil() - log2_threshold).detach()
        return torch.exp2(whole) / (self.grid.high + 1)
