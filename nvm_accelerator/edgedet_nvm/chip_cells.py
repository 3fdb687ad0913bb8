"""A layer's cells as one chip has them: programmed, aged, at temperature, behind wires, with their read noise."""

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.cells import LayerCells, target_cells
from edgedet_nvm.device.chip import Chip, exact_grid_bits
from edgedet_nvm.mapping import MappedLayer

# A grid coarser than 1/32 level would add to the programming error.
_COARSEST_GRID_BITS, _FINEST_GRID_BITS = 5, 12


def chip_cells(mapped: MappedLayer, chip: Chip, columns: int) -> LayerCells:
    """Effective levels of every plane, the same for every photo and thread.

    Args:
        mapped: the layer.
        chip: which chip, where and when.
        columns: of an array; a crossbar's word lines are that long.
    """
    target = target_cells(mapped)
    if chip.is_ideal:
        return target
    tops = mapped.slicing.highest_levels
    signs = {"+": target.positive} | ({} if target.negative is None else {"-": target.negative})
    grid = _grid_bits(mapped)
    cells = {
        sign: np.stack(
            [
                chip.effective_levels(plane.astype(np.int64), f"{mapped.name}|{index}|{sign}", top, grid)
                for index, (plane, top) in enumerate(zip(levels, tops, strict=True))
            ]
        )
        for sign, levels in signs.items()
    }
    noise = None if chip.preset.noise is None else _read_variance(cells, tops, chip)
    wires = chip.preset.wires
    if wires is None:
        return LayerCells(cells["+"], cells.get("-"), noise)
    if wires.topology == "crossbar":
        cells = _after_wires(mapped, cells, chip, columns)
        return LayerCells(cells["+"], cells.get("-"), noise)
    positive = _drop(mapped, cells["+"], chip)
    negative = _drop(mapped, cells["-"], chip) if "-" in cells else np.zeros_like(positive)
    return LayerCells(cells["+"], cells.get("-"), noise, (positive, negative))


def _grid_bits(mapped: MappedLayer) -> int | None:
    """As fine as float32 sums over a tile's rows stay exact whatever the inputs; None where that would be coarse.

    Without a grid a sum's last bit depends on the order of the additions: the same on one machine, not on all.
    """
    highest = max((1 << pulse.bits) - 1 for pulse in mapped.pulses)
    bits = exact_grid_bits(max(mapped.rows), highest, max(mapped.slicing.highest_levels))
    return None if bits < _COARSEST_GRID_BITS else min(bits, _FINEST_GRID_BITS)


def _read_variance(cells: dict[str, NDArray[np.float64]], tops: tuple[int, ...], chip: Chip) -> NDArray[np.float64]:
    """Of a weight's cells together: per plane where all cells vary alike, else per weight."""
    uniform = [chip.uniform_sigma(top) for top in tops]
    if all(sigma is not None for sigma in uniform):
        return len(cells) * np.array(uniform, np.float64) ** 2
    planes = [
        sum((chip.read_sigma(levels[index], top) ** 2 for levels in cells.values()), np.zeros(1))
        for index, top in enumerate(tops)
    ]
    return np.stack(planes)


def _drop(mapped: MappedLayer, cells: NDArray[np.float64], chip: Chip) -> NDArray[np.float32]:
    """k of ``I / (1 + k·I)`` of every column [tiles, planes, outputs], I in levels times input codes."""
    highest = max((1 << pulse.bits) - 1 for pulse in mapped.pulses)
    tops = mapped.slicing.highest_levels
    by_row = cells.reshape(*cells.shape[:2], -1)
    found = np.empty((mapped.tiles, *cells.shape[:2]), np.float32)
    for tile, held in enumerate(mapped.tile_cells.reshape(mapped.tiles, -1)):
        for plane, top in enumerate(tops):
            found[tile, plane] = chip.drop_coefficient(by_row[plane][:, held].T, highest, top)
    return found


def _after_wires(
    mapped: MappedLayer, cells: dict[str, NDArray[np.float64]], chip: Chip, columns: int
) -> dict[str, NDArray[np.float64]]:
    """Levels behind a crossbar's wires: the columns of a plane and sign side by side, `columns` to an array."""
    result = {sign: levels.copy() for sign, levels in cells.items()}
    any_input = np.ones(mapped.tile_cells[0].size)  # a crossbar's drop does not depend on it
    for levels in result.values():
        by_row = levels.reshape(*levels.shape[:2], -1)
        for held in mapped.tile_cells.reshape(mapped.tiles, -1):
            rows = np.flatnonzero(held)
            for plane, top in enumerate(mapped.slicing.highest_levels):
                for first in range(0, mapped.outputs, columns):
                    place = (plane, np.arange(first, min(first + columns, mapped.outputs))[:, None], rows[None])
                    by_row[place] = chip.after_wires(by_row[place].T, any_input[rows], top).T
    return result
