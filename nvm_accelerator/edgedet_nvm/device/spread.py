"""How a cell's standard deviation depends on its current: the laws that errors and noise are stated in."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.record import Positive, Record

Currents = NDArray[np.float64]


class RelativeSpread(Record):
    """σ = share · current of the slice's highest level in every cell (`of` = g_max), or share · I of the cell (own).

    The slice's highest level has I_max; of a measured cell, what was measured of it.
    """

    law: Literal["relative"]
    share: Annotated[float, Field(ge=0, le=0.5)]
    of: Literal["g_max", "own"]


class SaturatingSpread(Record):
    """σ(I) = A·(1 - exp(-I/B)): SONOS, Agrawal et al., IEDM 2022, figures 10(a) and 11(b), I up to 3,200 nA."""

    law: Literal["saturating"]
    a_na: Positive
    b_na: Positive
    max_na: ClassVar[float] = 3200.0
    """The highest current that it was measured at."""


class MeasuredSpread(Record):
    """σ of the cell's own measured levels, linear in between."""

    law: Literal["measured"]


Spread = Annotated[RelativeSpread | SaturatingSpread | MeasuredSpread, Field(discriminator="law")]
ReadSpread = Annotated[RelativeSpread | SaturatingSpread, Field(discriminator="law")]
"""Of reads: what was measured of levels is how far programming spreads."""


def spread_na(spread: Spread, current_na: Currents, cell: Cell, top: int) -> Currents:
    """Standard deviation of cells that carry `current_na`, in nA, same shape, in a slice with levels 0 … `top`."""
    match spread:
        case RelativeSpread(of="g_max"):
            return np.full(current_na.shape, spread.share * cell.level_na(top) * top)
        case RelativeSpread():
            return spread.share * current_na
        case SaturatingSpread():
            return spread.a_na * -np.expm1(-current_na / spread.b_na)
        case MeasuredSpread():
            return np.interp(current_na, cell.mean_na, cell.sigma_na)


def spread_text(spread: Spread | None, scale: float = 1.0) -> str:
    """The law in words, times `scale`; of a share it says of what."""
    times = "" if scale == 1 else f"{scale:g} × "
    match spread:
        case None:
            return "none"
        case RelativeSpread(of="g_max"):
            return f"{times}{100 * spread.share:g} % of g_max"
        case RelativeSpread():
            return f"{times}{100 * spread.share:g} % of the cell's own current"
        case SaturatingSpread():
            return f"{times}{spread.a_na:g} nA · (1 − exp(−I / {spread.b_na:g} nA))"
        case MeasuredSpread():
            return f"{times}as measured"
