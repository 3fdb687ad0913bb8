"""IR drop in closed form: what resistive wires take from a column's current. `nodal.py` solves the same exactly."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.device.record import NotNegative, Record


class Wires(Record):
    """Wire resistance from one cell to the next."""

    topology: Literal["nor", "crossbar"]
    """nor: inputs on gates, current in bit and source line; crossbar: inputs drive the word lines' current."""
    word_line_ohm: NotNegative
    """Of a word line; a gate takes no current, so it only counts in a crossbar."""
    bit_line_ohm: NotNegative
    """Of a bit line."""
    source_line_ohm: NotNegative
    """Of a source line; a crossbar has none."""


def path_shares(cells: int) -> NDArray[np.float64]:
    """M[i, j] = min(i, j), 1-based, counted from the driven or sensed end: segments that two cells' paths share."""
    count = np.arange(1, cells + 1, dtype=np.float64)
    return np.minimum.outer(count, count)


def crossbar_conductance(
    conductance_s: NDArray[np.float64], word_line_ohm: float, bit_line_ohm: float
) -> NDArray[np.float64]:
    """Effective conductances G/(1 + d), d = R_w·(G @ M_w) + R_b·(M_b @ G), in S [rows, columns].

    Word lines are driven beside column 0, bit lines sensed at 0 V below row 0. Cells are linear, so the effect does not
    depend on inputs: once per chip, free at inference. First order in d alone (G·(1 - d)) errs at high drop.
    """
    rows, columns = conductance_s.shape
    drop = word_line_ohm * (conductance_s @ path_shares(columns)) + bit_line_ohm * (path_shares(rows) @ conductance_s)
    return conductance_s / (1 + drop)


def nor_conductance(
    conductance_s: NDArray[np.float64], mean_input: NDArray[np.float64], loop_ohm: float
) -> NDArray[np.float64]:
    """Effective conductances G/(1 + d), d = R·(M @ (G·x)), of NOR columns at mean inputs x [rows], shares 0…1.

    Linear, so that a differential pair stays one signed weight; what a photo's codes differ from the mean is neglected.
    `nor_coefficient` follows the photo, and keeps the two columns of a pair apart.
    """
    drop = loop_ohm * (path_shares(len(conductance_s)) @ (conductance_s * mean_input[:, np.newaxis]))
    return conductance_s / (1 + drop)


def nor_coefficient(conductance_s: NDArray[np.float64], loop_ohm: float, read_v: float) -> NDArray[np.float64]:
    """k of I = I0/(1 + k·I0), per column, in 1/A: k = (R/V)·(g'·M·g)/(Σg)², for g [rows, columns] in S.

    The current of bit and source line (`loop_ohm` a cell, both together) flows past the cells nearer to the sense end,
    so a column loses the more the more cells are on: the drop depends on the inputs, through I0. 0 for an empty column.
    """
    total = conductance_s.sum(axis=0)
    shared = np.einsum("rc,rc->c", conductance_s, path_shares(len(conductance_s)) @ conductance_s)
    share = np.divide(shared, total**2, out=np.zeros_like(total), where=total > 0)
    return np.asarray(loop_ohm / read_v * share)
