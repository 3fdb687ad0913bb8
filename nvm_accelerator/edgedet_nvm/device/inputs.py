"""How activation codes reach the word lines: as amplitudes, as bits one after the other, or as widths of pulses."""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edgedet_nvm.device.record import Record


class Drive(Record):
    """The drivers of a tile's word lines; a code of more bits than a driver's comes as several pulses."""

    kind: Literal["amplitude", "bit-serial", "pulse-width"]
    """amplitude: a DAC; bit-serial: on or off; pulse-width: as many time slots as the code says, charge integrated."""
    bits: Annotated[int, Field(ge=1, le=8)]
    """Of one pulse."""

    @model_validator(mode="after")
    def _one_bit_at_a_time(self) -> Self:
        if self.kind == "bit-serial" and self.bits != 1:
            raise ValueError(f'bits: a bit-serial driver has 1 bit, not {self.bits}; or take kind = "amplitude"')
        return self

    def pulse_weights(self, code_bits: int) -> tuple[int, ...]:
        """Weights 2^(bits·p) that conversions of pulse 0, 1, … are shifted by; every pulse is converted on its own."""
        return tuple(1 << shift for shift in range(0, code_bits, self.bits))

    def slots(self) -> int:
        """Time slots that one pulse lasts."""
        return 2**self.bits - 1 if self.kind == "pulse-width" else 1


def split_codes(codes: NDArray[np.uint8], drive: Drive, code_bits: int) -> NDArray[np.uint8]:
    """Codes as pulses [pulses, …codes.shape], lowest bits first: codes = Σ_p weight_p·pulse_p."""
    shifts = np.arange(0, code_bits, drive.bits, dtype=np.uint8).reshape(-1, *([1] * codes.ndim))
    return (codes[np.newaxis] >> shifts) & np.uint8(2**drive.bits - 1)
