"""Energy, time and area of a network on a chip, counted from the codes that were seen."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.device.costs import Costs
from edgedet_nvm.device.preset import Preset
from edgedet_nvm.errors import PresetRefused

_PJ_PER_UJ, _NS_PER_MS, _UM2_PER_MM2 = 1e6, 1e6, 1e6


@dataclass(frozen=True, slots=True)
class Activity:
    """What a layer on tiles did for one photo (or a tile, or several layers)."""

    macs: int
    """Multiply-accumulates of the package's layer, whatever they became on the array."""
    tiles: int
    reads: int
    """Reads one after the other: output positions × pulses. Tiles of a layer read at the same time."""
    full_cell_reads: float
    """Σ over reads and cells of (code / highest code)·(current / I_max of a cell): reads of a cell that is fully on."""
    driver_events: int
    """Pulses other than 0 that word line drivers gave: a code of 0 costs nothing."""
    gate_events: int
    """Cells' gates that these pulses switched."""
    conversions: int
    shift_adds: int
    buffer_bytes: int
    """Bytes of activations and sums read or written on the chip."""


def tile_activity(
    pulses: NDArray[np.uint8], levels: NDArray[np.integer], top: int, full_code: int, preset: Preset
) -> Activity:
    """Count what one tile does.

    Inputs are loaded anew at every output position, and every pulse's sums are written once, in two bytes: no reuse
    between positions is assumed. The MACs are those of the tile's weights.

    Args:
        pulses: [pulses, positions, rows]: the codes of every `Pulse`.
        levels: target levels [rows, columns] of the tile's cells, 0 … top.
        top: highest level of the slice.
        full_code: the code of a word line that is fully on.
        preset: of the chip.
    """
    count, positions, rows = pulses.shape
    columns = levels.shape[1]
    outputs = columns // 2 if preset.slices.signs == "differential" else columns
    driven = int(np.count_nonzero(pulses))
    row_sums = pulses.sum(axis=(0, 1), dtype=np.int64)
    conversions = count * positions * outputs
    return Activity(
        macs=positions * rows * outputs,
        tiles=1,
        reads=count * positions,
        full_cell_reads=float(row_sums @ preset.cell.full_shares(levels, top).sum(axis=1)) / full_code,
        driver_events=driven,
        gate_events=driven * columns,
        conversions=conversions,
        shift_adds=conversions,
        buffer_bytes=count * positions * (-(-rows * preset.drive.bits // 8) + 2 * outputs),
    )


def side_by_side(parts: Sequence[Activity], macs: int) -> Activity:
    """Tiles of one layer, which read at the same time; `macs` are the layer's (slices share their weights' MACs)."""
    sums = {field.name: sum(getattr(part, field.name) for part in parts) for field in fields(Activity)}
    return Activity(**{**sums, "macs": macs, "reads": max((part.reads for part in parts), default=0)})


@dataclass(frozen=True, slots=True)
class Parts:
    """A quantity by part of the chip."""

    array: float
    drivers: float
    adc: float
    shift_add: float
    buffer: float
    idle: float = 0.0

    @property
    def total(self) -> float:
        """All parts together."""
        return self.array + self.drivers + self.adc + self.shift_add + self.buffer + self.idle


@dataclass(frozen=True, slots=True)
class Estimate:
    """One inference.

    Parallelism: all tiles of a layer read at the same time; output positions and pulses follow one another; while a
    read settles, the converters work through the one before (sample and hold), so a read takes the longer of the two.
    Layers follow one another for one photo (`time_ms`); with a photo in every layer, one is ready every `interval_ms`.
    """

    energy_uj: Parts
    time_ms: float
    interval_ms: float
    area_mm2: Parts
    macs: int

    @property
    def tops(self) -> float:
        """10^12 operations a second, two per MAC, with a photo in every layer; 0 where no layer is on the chip."""
        return 2e-9 * self.macs / self.interval_ms if self.macs else 0.0

    @property
    def tops_per_watt(self) -> float:
        """10^12 operations per joule, two per MAC, one photo at a time; 0 where no layer is on the chip.

        With a photo in every layer, a photo's share of the idle energy is less.
        """
        return 2e-6 * self.macs / self.energy_uj.total if self.macs else 0.0


def estimate(layers: Iterable[Activity], preset: Preset, idle_tiles: int | None = None) -> Estimate:
    """What a network of these layers takes for one photo.

    Args:
        layers: what was done, layer by layer.
        preset: of the chip.
        idle_tiles: tiles that draw idle power meanwhile, where the layers are a part of what the chip holds.

    Raises:
        PresetRefused: the preset has no costs or no converter.
    """
    costs, adc = preset.costs, preset.adc
    if costs is None or adc is None:
        raise PresetRefused(f"costs, adc: {preset.name} has not both; add the sections to estimate energy and time")
    layers = tuple(layers)
    read_ns = _read_ns(preset, costs)
    times_ms = [layer.reads * read_ns / _NS_PER_MS for layer in layers]
    whole = side_by_side(layers, sum(layer.macs for layer in layers))
    idle_uj = (whole.tiles if idle_tiles is None else idle_tiles) * costs.idle_uw_per_tile * sum(times_ms) * 1e-3
    energy = _energy_uj(whole, idle_uj, preset, costs, adc.bits)
    return Estimate(
        energy, sum(times_ms), max(times_ms, default=0.0), _area_mm2(whole.tiles, preset, costs), whole.macs
    )


def mean_over_photos(estimates: Sequence[Estimate]) -> Estimate:
    """Of one network on one chip, a photo each, at least one: energy follows the codes, all else is the same for all.

    It does not depend on the photos' order: sums are exact.
    """
    parts = {
        part.name: math.fsum(getattr(each.energy_uj, part.name) for each in estimates) / len(estimates)
        for part in fields(Parts)
    }
    return replace(estimates[0], energy_uj=Parts(**parts))


def _read_ns(preset: Preset, costs: Costs) -> float:
    settling = costs.pulse_ns * preset.drive.slots()
    return max(settling, costs.columns_per_adc * 1000 / costs.adc_msps)


def _energy_uj(whole: Activity, idle_uj: float, preset: Preset, costs: Costs, adc_bits: int) -> Parts:
    pulse_ns = costs.pulse_ns * preset.drive.slots()
    # nA · V · ns = 1e-18 J = 1e-6 pJ; µW · ns = 1e-3 pJ; fF · V² = 1e-3 pJ; µW · ms = 1e-3 µJ.
    full_cell_pj = preset.cell.i_max_na * costs.supply_v * pulse_ns * 1e-6
    driver_pj = costs.driver_uw * pulse_ns * 1e-3
    gate_pj = costs.gate_ff * costs.word_line_v**2 * 1e-3
    return Parts(
        array=whole.full_cell_reads * full_cell_pj / _PJ_PER_UJ,
        drivers=(whole.driver_events * driver_pj + whole.gate_events * gate_pj) / _PJ_PER_UJ,
        adc=whole.conversions * costs.adc_fj_per_step * 2**adc_bits * 1e-3 / _PJ_PER_UJ,
        shift_add=whole.shift_adds * costs.shift_add_pj / _PJ_PER_UJ,
        buffer=whole.buffer_bytes * costs.buffer_pj_per_byte / _PJ_PER_UJ,
        idle=idle_uj,
    )


def _area_mm2(tiles: int, preset: Preset, costs: Costs) -> Parts:
    """Of whole tiles, used or not."""
    rows, columns = preset.tile.rows, preset.tile.columns
    outputs = columns // 2 if preset.slices.signs == "differential" else columns
    converters = -(-outputs // costs.columns_per_adc)
    return Parts(
        array=tiles * rows * columns * costs.cell_um2 / _UM2_PER_MM2,
        drivers=tiles * rows * costs.driver_um2 / _UM2_PER_MM2,
        adc=tiles * converters * costs.adc_um2 / _UM2_PER_MM2,
        shift_add=tiles * converters * costs.shift_add_um2 / _UM2_PER_MM2,
        buffer=tiles * costs.buffer_bytes_per_tile * costs.buffer_um2_per_byte / _UM2_PER_MM2,
    )
