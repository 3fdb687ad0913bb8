"""A mapped layer as convolutions: each block is one Conv node, and blocks in order give tiles, planes, outputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.mapping import MappedLayer


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a layer's tiles become convolutions.

    `parts`: into how many parts the input's channels are split, one block each; `group`: of every block.
    """

    mapped: MappedLayer
    parts: int
    group: int

    def arranged(self, cells: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Weights of each block, out of one number per cell [planes, outputs, inputs per group, rows, columns]."""
        mapped = self.mapped
        if mapped.group > 1:  # a grouped Conv's outputs count groups first: a block for every plane
            yield from cells
            return
        if not mapped.cuts_channels:
            held = mapped.tile_cells[:, None, None] * cells[None]  # [tiles, planes, outputs, inputs, rows, columns]
            yield held.reshape(-1, *cells.shape[2:])
            return
        planes, outputs, channels, *kernel = cells.shape
        by_tile = cells.reshape(planes, outputs, mapped.tiles, channels // mapped.tiles, *kernel)
        tiles = np.moveaxis(by_tile, 2, 0).reshape(mapped.tiles, planes * outputs, -1, *kernel)
        yield from tiles if self.parts > 1 else [tiles.reshape(-1, *tiles.shape[2:])]

    def per_column(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Numbers [tiles, planes, outputs] as one vector per block."""
        if self.mapped.group > 1:
            yield from values[0]
        elif self.parts > 1:
            yield from values.reshape(self.parts, -1)
        else:
            yield values.reshape(-1)


def blocks_of(mapped: MappedLayer, most_parts: int) -> Blocks:
    """Up to `most_parts` tiles are convolutions of their own, more become the groups of one.

    Tiles that cut the kernel are one convolution with zeros where a tile has no cell: correct, but T times the work.
    """
    if mapped.group > 1:
        return Blocks(mapped, 1, mapped.group)
    if mapped.tiles == 1 or not mapped.cuts_channels:
        return Blocks(mapped, 1, 1)
    return Blocks(mapped, mapped.tiles, 1) if mapped.tiles <= most_parts else Blocks(mapped, 1, mapped.tiles)


def conv_attributes(mapped: MappedLayer) -> dict[str, Any]:
    """Attributes of the convolution that stay as they are."""
    kept = ("strides", "pads", "dilations")
    return {name: list(mapped.layer.attributes[name]) for name in kept if name in mapped.layer.attributes}
