"""What a mapped layer does for one photo, counted from its input map without unfolding it into word lines.

Over all output positions, the word line of channel c at kernel offset (i, j) sees the pixels of c that the offset
reaches, and the zero point where it reaches beyond the map: sums over rows and columns, the same for all outputs.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from edgedet_runtime.backend import Tensor
from numpy.typing import NDArray

from edgedet_nvm.device.estimator import Activity
from edgedet_nvm.device.inputs import full_code
from edgedet_nvm.device.preset import Preset
from edgedet_nvm.mapping import MappedLayer


@dataclass(frozen=True, slots=True)
class LayerCounter:
    """Counts as `tile_activity` does, added over tiles: one for every plane, group and block of an array's columns."""

    mapped: MappedLayer
    still: Activity
    """What does not depend on the codes."""
    driven_arrays: int
    """Arrays that one row's pulse goes to."""
    driven_gates: int
    """Cells that it switches there."""
    on_array: NDArray[np.bool_]
    """Which word lines there are [channels, kernel rows, kernel columns]."""
    full_cells: NDArray[np.float64]
    """Σ of current / the cell's I_max over the cells of a row, over the code that is fully on [channels, kernel…]."""
    values: NDArray[np.float32]
    """Of every code: the sum of its pulses [256]."""
    driven: NDArray[np.float32]
    """Of every code: its pulses other than 0 [256]."""
    down: NDArray[np.float32]
    """Which rows of the map each kernel row reaches [kernel rows, rows]."""
    across: NDArray[np.float32]
    """The same of columns."""

    @classmethod
    def of(cls, mapped: MappedLayer, preset: Preset) -> Self:
        """The counter of a layer on the arrays of a preset."""
        planes, outputs, inputs, *kernel = mapped.planes.shape
        cells = 2 if mapped.slicing.paired else 1
        own = outputs // mapped.group
        blocks = _column_blocks(mapped, preset)
        tops = mapped.slicing.highest_levels
        levels = np.abs(mapped.planes)
        shares = np.stack([preset.cell.full_shares(plane, top) for plane, top in zip(levels, tops, strict=True)])
        full_cells = (
            (shares / full_code(mapped.pulses)).reshape(planes, mapped.group, own, inputs, *kernel).sum(axis=(0, 2))
        )
        every = np.arange(256, dtype=np.uint8)
        pulses = np.stack([pulse.of(every) for pulse in mapped.pulses])
        return cls(
            mapped,
            _still(mapped, preset),
            driven_arrays=planes * blocks,
            driven_gates=planes * own * cells,
            on_array=np.tile(mapped.tile_cells.any(axis=0), (mapped.group, 1, 1)),
            full_cells=full_cells.reshape(mapped.group * inputs, *kernel),
            values=pulses.sum(axis=0, dtype=np.float32),
            driven=np.count_nonzero(pulses, axis=0).astype(np.float32),
            down=_reached(mapped, 0),
            across=_reached(mapped, 1),
        )

    def count(self, codes: Tensor) -> Activity:
        """The layer's activity for its input codes uint8 [1, channels, rows, columns] or [1, channels]."""
        pixels = codes[0].reshape(len(self.full_cells), *self.mapped.map_size)
        driven = round(float(self._row_sums(pixels, self.driven)[self.on_array].sum()))
        return replace(
            self.still,
            full_cell_reads=float((self._row_sums(pixels, self.values) * self.full_cells).sum()),
            driver_events=driven * self.driven_arrays,
            gate_events=driven * self.driven_gates,
        )

    def _row_sums(self, pixels: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.float64]:
        """Σ of `table`[code] over all positions, for every word line [channels, kernel rows, kernel columns]."""
        # A map's row has at most some thousand pixels: exact in float32; whole maps need float64.
        by_row = np.take(table, pixels) @ self.across.T
        sums = self.down.astype(np.float64) @ by_row.astype(np.float64)
        outside = np.prod(self.mapped.pixels) - np.outer(self.down.sum(axis=1), self.across.sum(axis=1))
        result: NDArray[np.float64] = sums + float(table[self.mapped.zero_point]) * outside
        return result


def layer_tiles(mapped: MappedLayer, preset: Preset) -> int:
    """Tiles that a layer takes: planes, groups and blocks of columns each have their own."""
    return mapped.group * mapped.tiles * len(mapped.planes) * _column_blocks(mapped, preset)


def _column_blocks(mapped: MappedLayer, preset: Preset) -> int:
    """Arrays side by side that a group's columns need; a pair is never split."""
    cells = 2 if mapped.slicing.paired else 1
    columns = mapped.outputs // mapped.group * cells
    return -(-columns // (preset.tile.columns - preset.tile.columns % cells))


def _still(mapped: MappedLayer, preset: Preset) -> Activity:
    planes, outputs = mapped.planes.shape[:2]
    reads = len(mapped.pulses) * int(np.prod(mapped.pixels))
    conversions = reads * mapped.group * mapped.tiles * planes * (outputs // mapped.group)
    loaded = sum(-(-rows * preset.drive.bits // 8) for rows in mapped.rows) * (
        layer_tiles(mapped, preset) // mapped.tiles
    )
    return Activity(
        macs=mapped.layer.macs,
        tiles=layer_tiles(mapped, preset),
        reads=reads,
        full_cell_reads=0.0,
        driver_events=0,
        gate_events=0,
        conversions=conversions,
        shift_adds=conversions,
        buffer_bytes=reads * loaded + 2 * conversions,
    )


def _reached(mapped: MappedLayer, axis: int) -> NDArray[np.float32]:
    """1 where a kernel offset reaches a row (axis 0) or column (1) at some output position: [kernel, size]."""
    attributes = mapped.layer.attributes
    stride = attributes.get("strides", (1, 1))[axis]
    dilation = attributes.get("dilations", (1, 1))[axis]
    before = attributes.get("pads", (0, 0, 0, 0))[axis]
    kernel, size = mapped.planes.shape[3 + axis], mapped.map_size[axis]
    places = np.arange(mapped.pixels[axis]) * stride + np.arange(kernel)[:, None] * dilation - before
    reached: NDArray[np.float32] = (places[..., None] == np.arange(size)).any(axis=1).astype(np.float32)
    return reached
