"""The exact solution of an array with resistive wires, by a sparse nodal solve: what closed forms are checked with."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu


def crossbar_currents(
    conductance_s: NDArray[np.float64], volts: NDArray[np.float64], word_line_ohm: float, bit_line_ohm: float
) -> NDArray[np.float64]:
    """Column currents in A [reads, columns] of a crossbar [rows, columns] for word line voltages [reads, rows].

    2·rows·columns nodes: each cell joins a word line node and a bit line node; word lines are driven beside column 0,
    bit lines end at 0 V below row 0; one segment of wire lies between neighbors, and before the first.
    """
    rows, columns = conductance_s.shape
    word = np.arange(rows * columns).reshape(rows, columns)
    bit = word + rows * columns
    wire_w, wire_b = 1 / word_line_ohm, 1 / bit_line_ohm
    matrix = _laplacian(
        2 * rows * columns,
        [
            (word, bit, conductance_s),
            (word[:, :-1], word[:, 1:], np.full((rows, columns - 1), wire_w)),
            (bit[:-1], bit[1:], np.full((rows - 1, columns), wire_b)),
        ],
        np.concatenate([word[:, 0], bit[0]]),
        np.concatenate([np.full(rows, wire_w), np.full(columns, wire_b)]),
    )
    injected = np.zeros((2 * rows * columns, len(volts)))
    injected[word[:, 0]] = wire_w * volts.T
    nodes = splu(matrix).solve(injected)
    return np.asarray(wire_b * nodes[bit[0]].T)


def nor_currents(conductance_s: NDArray[np.float64], loop_ohm: float, read_v: float) -> NDArray[np.float64]:
    """Currents in A of NOR columns [columns] whose cells conduct g [rows, columns]: a ladder per column.

    Bit line and source line carry the same current, so both count as one wire of `loop_ohm` a cell; its end beside row
    0 is held at `read_v`, and every cell draws g·V from its place on it.
    """
    rows, columns = conductance_s.shape
    node = np.arange(rows * columns).reshape(rows, columns)
    wire = 1 / loop_ohm
    matrix = _laplacian(
        rows * columns,
        [(node[:-1], node[1:], np.full((rows - 1, columns), wire))],
        np.concatenate([node[0], node.ravel()]),
        np.concatenate([np.full(columns, wire), conductance_s.ravel()]),
    )
    injected = np.zeros(rows * columns)
    injected[node[0]] = wire * read_v
    return np.asarray(wire * (read_v - splu(matrix).solve(injected)[node[0]]))


def _laplacian(
    nodes: int,
    branches: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]],
    grounded: NDArray[np.intp],
    to_ground_s: NDArray[np.float64],
) -> coo_array:
    """Conductance matrix in CSC form of branches between nodes, and of branches to a fixed potential."""
    here = np.concatenate([one.ravel() for one, _, _ in branches])
    there = np.concatenate([other.ravel() for _, other, _ in branches])
    siemens = np.concatenate([value.ravel() for _, _, value in branches])
    row = np.concatenate([here, there, here, there, grounded])
    column = np.concatenate([here, there, there, here, grounded])
    value = np.concatenate([siemens, siemens, -siemens, -siemens, to_ground_s])
    return coo_array((value, (row, column)), shape=(nodes, nodes)).tocsc()
