"""The analog-digital converter of a layer's columns: one step, shifted by powers of two from read to read."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgedet_nvm.device.adc import AdcBits


class ReadRange(BaseModel):
    """What one kind of read (a pulse on a plane) needs of the converter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: int = Field(ge=-24, le=24, description="the read's step is the layer's step times 2 to this power")
    offset: int = Field(description="levels that are subtracted before the conversion")
    saturated_share: float = Field(default=0, ge=0, le=1, description="conversions of the calibration that clipped")


class Converter(BaseModel):
    """A converter as calibrated for one layer and stored with the network.

    ``code = clip(rint(f32(I - offset) · f32(1 / step)), lowest, highest)``, half to even; I counts levels from the
    current where all inputs are 0 in value (that of the zero points, known when the column is written).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: AdcBits
    step: float = Field(
        gt=0, allow_inf_nan=False, description="levels per code of a read with shift 0; a float32 value"
    )
    reads: tuple[tuple[ReadRange, ...], ...] = Field(description="by pulse and plane, least significant first")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if float(np.float32(self.step)) != self.step:
            raise ValueError(f"step: {self.step!r} is no float32 value; round it first")
        return self

    @property
    def lowest(self) -> int:
        """The lowest code."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """The highest code."""
        return (1 << (self.bits - 1)) - 1

    @property
    def shifts(self) -> NDArray[np.int64]:
        """[pulses, planes]."""
        return np.array([[read.shift for read in pulse] for pulse in self.reads], np.int64)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """[pulses, planes], in levels."""
        return np.array([[read.offset for read in pulse] for pulse in self.reads], np.int64)

    @property
    def gains(self) -> NDArray[np.float32]:
        """``f32(1 / step)`` of every read [pulses, planes]; a power of two changes no digit of it."""
        return np.ldexp(np.float32(1) / np.float32(self.step), -self.shifts).astype(np.float32)

    def convert(self, current: NDArray[np.float32], gain: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes of currents [...] in levels after the offset; `gain` broadcasts to them."""
        rounded = np.rint(current * gain)
        codes: NDArray[np.float32] = np.clip(rounded, np.float32(self.lowest), np.float32(self.highest))
        return codes
