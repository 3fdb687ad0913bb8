"""How activation codes reach the word lines: as amplitudes, as bits one after the other, or as widths of pulses."""

from collections.abc import Sequence
from dataclasses import dataclass
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

    def slots(self) -> int:
        """Time slots that one pulse lasts."""
        return 2**self.bits - 1 if self.kind == "pulse-width" else 1


@dataclass(frozen=True, slots=True)
class Pulse:
    """A part of the input codes that is driven at once: bits `shift` … `shift + bits - 1`."""

    shift: int
    bits: int

    def of_code(self, code: int) -> int:
        """The part of one code that is in this pulse."""
        return code >> self.shift & ((1 << self.bits) - 1)

    def of(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The codes of this pulse."""
        return codes >> np.uint8(self.shift) & np.uint8((1 << self.bits) - 1)


def pulses_of(highest_code: int, bits: int) -> tuple[Pulse, ...]:
    """The pulses of up to `bits` bits that carry codes up to `highest_code`, least significant first.

    Every pulse is converted on its own; the last one has what bits are left.
    """
    needed = max(highest_code.bit_length(), 1)
    return tuple(Pulse(shift, min(bits, needed - shift)) for shift in range(0, needed, bits))


def full_code(pulses: Sequence[Pulse]) -> int:
    """The code of a word line that is fully on: the highest that the widest of a layer's pulses can carry.

    Drivers of more bits than the layer's codes are scaled to these, as a slice's levels are to the cell's range.
    """
    return max((1 << pulse.bits) - 1 for pulse in pulses)
