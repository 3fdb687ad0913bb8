"""Read noise: what differs from one read of the same cells to the next."""

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.spread import RelativeSpread, Spread, spread_na


def read_sigma(levels: NDArray[np.float64], top: int, cell: Cell, noise: Spread | None) -> NDArray[np.float64]:
    """σ of one read of each cell, in level units of a slice with levels 0 … `top`, same shape as `levels`."""
    uniform = uniform_sigma(top, noise)
    if uniform is not None:
        return np.full(levels.shape, uniform)
    assert noise is not None  # without any, σ is uniform
    level_na = cell.level_na(top)
    return spread_na(noise, levels * level_na, cell, top) / level_na


def uniform_sigma(top: int, noise: Spread | None) -> float | None:
    """σ of one read in level units where it is the same in all cells, else None.

    g_max is the highest level of the slice: all of the cell's range, of a measured cell the part that the slice takes.
    A uniform σ needs one more output per tile instead of one per column: Σ x² times σ².
    """
    match noise:
        case None:
            return 0.0
        case RelativeSpread(of="g_max"):
            return noise.share * top
    return None
