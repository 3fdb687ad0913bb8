"""A layer's cells as one chip has them: programmed, aged, at temperature, behind wires, with their read noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.cells import LayerCells, target_cells, target_levels
from edgedet_nvm.device.chip import Chip, exact_grid_bits, on_grid
from edgedet_nvm.device.inputs import full_code
from edgedet_nvm.mapping import MappedLayer

# A grid coarser than 1/32 level would add to the programming error.
_COARSEST_GRID_BITS, _FINEST_GRID_BITS = 5, 12


def chip_cells(mapped: MappedLayer, chip: Chip, columns: int, mean_inputs: Sequence[float] | None = None) -> LayerCells:
    """Effective levels of every plane, the same for every photo and thread.

    Args:
        mapped: the layer.
        chip: which chip, where and when.
        columns: of an array; a crossbar's word lines are that long.
        mean_inputs: of every input channel, shares of the highest code: NOR wires are reckoned into the levels at these
            inputs, so that a pair stays one signed weight. None: what they take follows each photo's codes, at the cost
            of reading G⁺ and G⁻ apart.
    """
    if chip.is_ideal:
        return target_cells(mapped)
    tops = mapped.slicing.highest_levels
    positive, negative = target_levels(mapped)
    signs = {"+": positive} | ({} if negative is None else {"-": negative})
    grid, on_array = _grid_bits(mapped), np.any(mapped.tile_cells, axis=0)
    cells = {
        sign: np.stack(
            [
                chip.effective_levels(plane, f"{mapped.name}|{index}|{sign}", top, grid) * on_array
                for index, (plane, top) in enumerate(zip(levels, tops, strict=True))
            ]
        )
        for sign, levels in signs.items()
    }
    noise = None if chip.preset.noise is None else _read_variance(cells, tops, chip, on_array)
    wires = chip.preset.wires
    if wires is None:
        return LayerCells(cells["+"], cells.get("-"), noise)
    blocks = _wired_blocks(mapped, wires.topology, columns // len(cells), mean_inputs)
    if blocks is not None:
        cells = _after_wires(mapped, cells, chip, blocks, grid)
        return LayerCells(cells["+"], cells.get("-"), noise)
    lost = _drop(mapped, cells["+"], chip)
    lost_by_partner = _drop(mapped, cells["-"], chip) if "-" in cells else np.zeros_like(lost)
    return LayerCells(cells["+"], cells.get("-"), noise, (lost, lost_by_partner))


def _grid_bits(mapped: MappedLayer) -> int | None:
    """As fine as float32 sums over a tile's rows stay exact for cells up to the highest level, whatever the inputs.

    Cells that err beyond it could round a sum in which nearly all rows and codes are the highest, too. None where the
    grid would be coarse.

    Without a grid a sum's last bit depends on the order of the additions: the same on one machine, not on all.
    """
    bits = exact_grid_bits(max(mapped.rows), full_code(mapped.pulses), max(mapped.slicing.highest_levels))
    return None if bits < _COARSEST_GRID_BITS else min(bits, _FINEST_GRID_BITS)


def _read_variance(
    cells: dict[str, NDArray[np.float32]], tops: tuple[int, ...], chip: Chip, on_array: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Of a weight's cells together: per plane where all cells vary alike, else per weight, 0 where it has none."""
    uniform = [chip.uniform_sigma(top) for top in tops]
    if all(sigma is not None for sigma in uniform):
        return len(cells) * np.array(uniform, np.float64) ** 2
    planes = [
        sum((chip.read_sigma(levels[index].astype(np.float64), top) ** 2 for levels in cells.values()), np.zeros(1))
        for index, top in enumerate(tops)
    ]
    return np.stack(planes) * on_array


def _drop(mapped: MappedLayer, cells: NDArray[np.float32], chip: Chip) -> NDArray[np.float32]:
    """k of ``I / (1 + k·I)`` of every column [tiles, planes, outputs], I in levels times input codes."""
    highest = full_code(mapped.pulses)
    tops = mapped.slicing.highest_levels
    by_row = cells.astype(np.float64).reshape(*cells.shape[:2], -1)
    found = np.empty((mapped.tiles, *cells.shape[:2]), np.float32)
    for tile, held in enumerate(mapped.tile_cells.reshape(mapped.tiles, -1)):
        for plane, top in enumerate(tops):
            found[tile, plane] = chip.drop_coefficient(by_row[plane][:, held].T, highest, top)
    return found


@dataclass(frozen=True, slots=True)
class _WiredBlock:
    """Outputs whose columns are reckoned together, and the mean inputs of their rows, tiles one after the other."""

    outputs: NDArray[np.int64]
    mean_inputs: NDArray[np.float64]


def _wired_blocks(
    mapped: MappedLayer, topology: str, together: int, mean_inputs: Sequence[float] | None
) -> list[_WiredBlock] | None:
    """None where wires follow each photo's codes; `together` outputs share an array."""
    rows = mapped.tile_cells[0].size
    groups = np.arange(mapped.outputs).reshape(mapped.group, -1)
    if topology == "crossbar":  # linear: its inputs do not matter, but what shares a word line does
        blocks = [own[first : first + together] for own in groups for first in range(0, len(own), together)]
        return [_WiredBlock(outputs, np.ones(rows)) for outputs in blocks]
    if mean_inputs is None:
        return None
    by_row = np.repeat(np.array(mean_inputs, np.float64), mapped.tile_cells[0, 0].size).reshape(mapped.group, rows)
    return [_WiredBlock(outputs, inputs) for outputs, inputs in zip(groups, by_row, strict=True)]


def _after_wires(
    mapped: MappedLayer,
    cells: dict[str, NDArray[np.float32]],
    chip: Chip,
    blocks: list[_WiredBlock],
    grid: int | None,
) -> dict[str, NDArray[np.float32]]:
    """Levels by sign behind the wires, back on the grid on which float32 sums are exact."""
    left = np.stack([*cells.values()], axis=2).astype(np.float64)  # a pair's columns lie side by side
    by_row, signs = left.reshape(*left.shape[:3], -1), np.arange(len(cells))
    for held in mapped.tile_cells.reshape(mapped.tiles, -1):
        rows = np.flatnonzero(held)
        for plane, top in enumerate(mapped.slicing.highest_levels):
            for block in blocks:
                place = np.ix_(block.outputs, signs, rows)
                columns = by_row[plane][place].reshape(-1, len(rows)).T
                wired = chip.after_wires(columns, block.mean_inputs[rows], top).T
                by_row[plane][place] = wired.reshape(len(block.outputs), len(cells), -1)
    on = left if grid is None else on_grid(left, grid)
    return {sign: on[:, :, place].astype(np.float32) for place, sign in enumerate(cells)}
