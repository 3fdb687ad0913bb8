"""Temperature and process corner: what they make of a cell's current, and how far the converter's reference follows."""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edgedet_nvm.device.record import Positive, Record, Share
from edgedet_nvm.device.transistor import REFERENCE_K, Transistor
from edgedet_nvm.errors import OutOfRange

CornerName = Literal["tt", "ff", "ss", "fs", "sf"]
CELSIUS_TO_K = 273.15


class Corner(Record):
    """One process corner against typical, at equal charge on the floating gates."""

    threshold_mv: Annotated[float, Field(ge=-200, le=200)] = 0.0
    """Shift of the cells' threshold voltage."""
    mobility: Annotated[float, Field(gt=0.5, lt=2)] = 1.0
    """Multiplier of the cells' mobility."""
    reference: Annotated[float, Field(gt=0.5, lt=2)] = 1.0
    """Multiplier of the converter's reference, by the mirrors' p-channel transistors."""


class Environment(Record):
    """How cells and references depend on temperature and corner (first letter n-channel, as the cells are)."""

    threshold_mv_per_k: Annotated[float, Field(ge=-5, le=0)]
    """dV_T/dT of a cell."""
    mobility_exponent: Annotated[float, Field(ge=-3, le=0)]
    """μ ∝ (T/298 K)^exponent."""
    threshold_tracking: Share
    """Share of the shift in threshold that the word lines' voltage follows."""
    reference_tracking: Share
    """Share of the change of a replica cell's current that the converter's reference follows (in the exponent)."""
    replica_na: Positive
    """Current of the replica cell at tt, 25 °C."""
    min_c: Annotated[float, Field(gt=-CELSIUS_TO_K)]
    max_c: Annotated[float, Field(lt=1000)]
    """Temperatures that the constants are meant for, in °C."""
    ff: Corner
    ss: Corner
    fs: Corner
    sf: Corner

    @model_validator(mode="after")
    def _holds_where_chips_are_calibrated(self) -> Self:
        if not self.min_c <= REFERENCE_K - CELSIUS_TO_K <= self.max_c:
            raise ValueError("min_c, max_c: 25 °C, at which converters are calibrated, must lie between them")
        return self

    def corner(self, name: CornerName) -> Corner:
        """Constants of a corner; those of `tt` are 0 and 1."""
        found: Corner = Corner() if name == "tt" else getattr(self, name)
        return found


def apparent_na(
    current_na: NDArray[np.float64],
    temperature_c: float,
    corner: CornerName,
    environment: Environment,
    transistor: Transistor,
) -> NDArray[np.float64]:
    """What a converter calibrated at tt, 25 °C takes cells of `current_na` for, in nA, same shape.

    v' = v - (1 - a)·ΔV_T, I' = I_s·m·(T/T0)^(2+e)·ln²(1 + exp(v'/2nφ')), and the reference moves by r
    (`reference_shift`), so the converter sees I'/r; a is the share of the threshold that tracks.

    Raises:
        OutOfRange: a temperature that the constants are not meant for.
    """
    reference = reference_shift(temperature_c, corner, environment, transistor)
    return _moved(current_na, temperature_c, corner, environment, transistor) / reference


def reference_shift(
    temperature_c: float, corner: CornerName, environment: Environment, transistor: Transistor
) -> float:
    """r = r_corner·(I'_replica/I_replica)^b, 1 at tt, 25 °C: the converter's reference, by which I' is divided.

    Raises:
        OutOfRange: a temperature that the constants are not meant for.
    """
    nominal_na = np.asarray(environment.replica_na)
    replica = float(_moved(nominal_na, temperature_c, corner, environment, transistor)) / environment.replica_na
    shift: float = environment.corner(corner).reference * replica**environment.reference_tracking
    return shift


def _moved(
    current_na: NDArray[np.float64],
    temperature_c: float,
    corner: CornerName,
    environment: Environment,
    transistor: Transistor,
) -> NDArray[np.float64]:
    """I' in nA."""
    if not environment.min_c <= temperature_c <= environment.max_c:
        raise OutOfRange(
            f"temperature_c: {temperature_c:g} is outside of the preset's {environment.min_c:g}…{environment.max_c:g}"
        )
    if corner == "tt" and temperature_c + CELSIUS_TO_K == REFERENCE_K:
        return current_na
    process = environment.corner(corner)
    kelvin = temperature_c + CELSIUS_TO_K
    shift_v = 1e-3 * (process.threshold_mv + environment.threshold_mv_per_k * (kelvin - REFERENCE_K))
    # The specific current goes with μ·φ².
    gain = process.mobility * (kelvin / REFERENCE_K) ** (2 + environment.mobility_exponent)
    overdrive_v = transistor.overdrive_v(current_na) - (1 - environment.threshold_tracking) * shift_v
    return transistor.current_na(overdrive_v, kelvin, gain)
