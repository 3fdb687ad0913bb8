"""The transistor in the cell: drain current against overdrive voltage, below and above threshold."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgedet_nvm.device.record import Positive, Record

BOLTZMANN_V_PER_K = 8.617333e-5
"""Boltzmann's constant over the elementary charge (CODATA 2018)."""
REFERENCE_K = 298.15
"""25 °C: the temperature that currents of a cell are stated for."""


class Transistor(Record):
    """A long-channel MOS transistor in saturation (Enz, Krummenacher, Vittoz 1995, the EKV model).

    I = I_s·ln²(1 + exp(v/(2·n·φ))), v = V_G - V_T, φ = kT/q: exponential below threshold, quadratic above.
    """

    specific_na: Positive
    """Specific current I_s = 2·n·μ·C_ox·φ²·W/L at 25 °C, in nA."""
    slope_factor: float = Field(ge=1, le=3)
    """n: the subthreshold swing is n·φ·ln 10 per decade."""

    def overdrive_v(self, current_na: NDArray[np.float64]) -> NDArray[np.float64]:
        """The overdrive at which a cell carries `current_na` at 25 °C, in V; -inf for no current."""
        root = np.sqrt(current_na / self.specific_na)
        with np.errstate(divide="ignore"):
            # ln(exp(root) - 1), without the power, which overflows far above threshold.
            return self._scale_v(REFERENCE_K) * (root + np.log(-np.expm1(-root)))

    def current_na(
        self, overdrive_v: NDArray[np.float64], temperature_k: float = REFERENCE_K, gain: float = 1.0
    ) -> NDArray[np.float64]:
        """The current at an overdrive, in nA; `gain` scales the specific current (mobility, φ²)."""
        return gain * self.specific_na * np.logaddexp(0.0, overdrive_v / self._scale_v(temperature_k)) ** 2

    def _scale_v(self, temperature_k: float) -> float:
        return 2 * self.slope_factor * BOLTZMANN_V_PER_K * temperature_k
