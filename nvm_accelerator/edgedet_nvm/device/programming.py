"""Programming error: what a verify loop leaves between the current it aimed at and the current it reached."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.normal_draws import normal_draws
from edgedet_nvm.device.record import NotNegative, Record, Share
from edgedet_nvm.device.spread import MeasuredSpread, Spread, spread_na


class Programming(Record):
    """The error of working cells, and the shares of cells that do not work."""

    error: Spread | None = None
    """Left out: none, or of a measured cell what was measured."""
    error_scale: NotNegative = 1.0
    """Multiplies the error's σ: for a sweep over it."""
    stuck_on: Share = 0.0
    """Share of cells that always carry the highest level's current."""
    stuck_off: Share = 0.0
    """Share of cells that always carry the off current."""

    @model_validator(mode="after")
    def _stuck_once(self) -> Self:
        if self.stuck_on + self.stuck_off > 1:
            raise ValueError("stuck_on and stuck_off: together they may not exceed 1, all cells")
        return self

    def error_of(self, cell: Cell) -> Spread | None:
        """The law of the error: that of the preset, or else what the CSV of a measured cell says."""
        return MeasuredSpread(law="measured") if self.error is None and cell.is_measured else self.error


def programmed(
    target_na: NDArray[np.float64], top: int, cell: Cell, programming: Programming, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Currents reached in a slice with levels 0 … `top`, in nA: I = max(0, I_target + σ(I_target)·ε), one ε per cell.

    One draw per *cell*, not per level (MNSIM 2.0 draws one per level, so that all cells of a level err alike), and one
    per *chip*, not per read (NeuroSim 1.4 draws again for every input bit): the caller's `rng` belongs to the chip.
    """
    error = programming.error_of(cell)
    if error is None:
        return target_na
    sigma_na = programming.error_scale * spread_na(error, target_na, cell, top)
    return np.maximum(target_na + sigma_na * normal_draws(rng.bit_generator, target_na.shape), 0.0)


def with_stuck_cells(
    current_na: NDArray[np.float64], cell: Cell, programming: Programming, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The same currents, but for cells that are stuck on (I_max) or off, in nA.

    How many there are is binomial, then which: few draws, as few cells are stuck.
    """
    found = current_na.copy()
    for share, stuck_na in ((programming.stuck_off, cell.off_na), (programming.stuck_on, cell.i_max_na)):
        count = rng.binomial(found.size, share)
        found.flat[rng.choice(found.size, count, replace=False, shuffle=False)] = stuck_na
    return found
