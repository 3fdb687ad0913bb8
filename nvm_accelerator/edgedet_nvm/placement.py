"""Which array each layer's columns sit in, how full the arrays are, and what the report says of a mapping."""

from dataclasses import dataclass

import numpy as np

from edgedet_nvm.mapping import MappedLayer, NetworkMapping


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one tile that sit side by side in one array, from row 0 down."""

    layer: str
    tile: int
    array: int
    first_column: int
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What one layer takes."""

    layer: str
    tiles: int
    rows: int
    """Of its fullest tile."""
    columns: int
    """Physical columns of one tile: outputs · planes, twice in pairs."""
    arrays: tuple[int, ...]
    cells: int
    cells_per_weight: int
    used_share: float
    """Cells that hold a level other than 0 in at least one cell of their weight."""
    conversions: int
    """Per photo."""


@dataclass(frozen=True, slots=True)
class MappingReport:
    """A network on arrays."""

    layers: tuple[LayerReport, ...]
    blocks: tuple[Block, ...]
    arrays: int
    utilization: float
    """Cells that belong to a weight, of all cells of the arrays in use."""


def place(mapping: NetworkMapping) -> tuple[Block, ...]:
    """Put tiles into arrays in the network's order, side by side, a tile wider than what is left going on in the next.

    Weights are never split between two arrays. The places say how few arrays could hold the network; estimates of
    energy, time and area do not go by them, but take every tile for an array of its own (`layer_tiles`).
    """
    blocks: list[Block] = []
    array, column = 0, 0
    for mapped in mapping.layers:
        per_output = mapped.slicing.cells_per_weight
        for tile, rows in enumerate(mapped.rows):
            waiting = mapped.outputs
            while waiting:
                taken = min(waiting, (mapping.arrays.columns - column) // per_output)
                if not taken:
                    array, column = array + 1, 0
                    continue
                blocks.append(Block(mapped.name, tile, array, column, taken * per_output, rows))
                column += taken * per_output
                waiting -= taken
    return tuple(blocks)


def report(mapping: NetworkMapping) -> MappingReport:
    """The figures of a mapping; without any layer on arrays there are no arrays, of utilization 0."""
    blocks = place(mapping)
    if not blocks:
        return MappingReport((), (), 0, 0.0)
    arrays = blocks[-1].array + 1
    cells = sum(block.rows * block.columns for block in blocks)
    return MappingReport(
        tuple(_layer_report(mapped, blocks) for mapped in mapping.layers),
        blocks,
        arrays,
        cells / (arrays * mapping.arrays.rows * mapping.arrays.columns),
    )


def _layer_report(mapped: MappedLayer, blocks: tuple[Block, ...]) -> LayerReport:
    own = [block for block in blocks if block.layer == mapped.name]
    height, width = mapped.pixels
    return LayerReport(
        layer=mapped.name,
        tiles=mapped.tiles,
        rows=max(mapped.rows),
        columns=mapped.outputs * mapped.slicing.cells_per_weight,
        arrays=tuple(sorted({block.array for block in own})),
        cells=sum(block.rows * block.columns for block in own),
        cells_per_weight=mapped.slicing.cells_per_weight,
        used_share=float(np.mean(np.any(mapped.planes != 0, axis=0))),
        conversions=mapped.conversions * mapped.outputs * height * width,
    )
