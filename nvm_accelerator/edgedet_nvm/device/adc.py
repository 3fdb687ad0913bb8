"""The converter at the end of a column: current in, code out, exactly as the compiled graph does it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.errors import OutOfRange

MAX_BITS = 16


def check_bits(bits: int) -> None:
    """Whether a converter can have that many bits.

    Raises:
        OutOfRange: it cannot; the message says what to do.
    """
    if not 1 <= bits <= MAX_BITS:
        raise OutOfRange(
            f"adc.bits: a converter of {bits} bits has no codes to tell apart; give 1…{MAX_BITS}, or leave the [adc] "
            "section out to read currents exactly"
        )


@dataclass(frozen=True, slots=True)
class Adc:
    """A converter with gain and offset frozen at calibration; codes are signed, -2^(bits-1) … 2^(bits-1) - 1.

    Raises:
        OutOfRange: bits or step that no converter can have.
    """

    bits: int
    step: float
    """Current of one code, in units of one level times one input code."""
    offset: int = 0
    """Added to the current first, in the same units: an integer, so that integer kernels can hold it as a bias."""

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not 0 < self.step < float("inf"):
            raise OutOfRange(f"step: {self.step} must be positive and finite; calibrate the range first")

    @property
    def low(self) -> int:
        """The lowest code."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The highest code."""
        return (1 << (self.bits - 1)) - 1

    def convert(self, current: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int32]:
        """Codes of currents: clip(rint(float32(I + offset)·float32(1/step)), low, high), any shape.

        The product with the reciprocal, not the quotient, and halves to even: what ONNX Runtime's kernels compute.
        """
        scaled = np.asarray(current + self.offset, np.float32) * np.float32(1 / self.step)
        codes: NDArray[np.int32] = np.clip(np.rint(scaled), self.low, self.high).astype(np.int32)
        return codes

    def saturated(self, current: NDArray[np.floating] | NDArray[np.integer]) -> float:
        """Share of conversions that lie more than half a step outside of the range."""
        scaled = np.rint(np.asarray(current + self.offset, np.float32) * np.float32(1 / self.step))
        return float(np.mean((scaled < self.low) | (scaled > self.high)))
