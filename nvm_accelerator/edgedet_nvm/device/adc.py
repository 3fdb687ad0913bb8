"""How many bits a converter may have, in a preset and in a calibrated range alike."""

from typing import Annotated

from pydantic import AfterValidator

MAX_BITS = 16


def _exists(bits: int) -> int:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(
            f"a converter of {bits} bits has no codes to tell apart; give 1…{MAX_BITS}, or leave the [adc] "
            "section out to read currents exactly"
        )
    return bits


AdcBits = Annotated[int, AfterValidator(_exists)]
"""1…16."""
