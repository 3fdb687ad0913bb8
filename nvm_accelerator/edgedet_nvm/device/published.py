"""Published flash chips beside our estimate of the same kind of work, and why the figures differ."""

from dataclasses import dataclass

import numpy as np

from edgedet_nvm.device.estimator import Activity, estimate, side_by_side, tile_activity
from edgedet_nvm.device.inputs import full_code, pulses_of
from edgedet_nvm.device.preset import Preset, load_preset


@dataclass(frozen=True, slots=True)
class PublishedChip:
    """A figure as its authors report it."""

    name: str
    tops_per_watt: float
    source: str
    preset: str
    code_bits: int
    """Of activations in the authors' work."""
    max_weight: int
    """Largest magnitude of their weights' codes."""
    reasons: str
    """What their figure counts that ours does not, and the other way round."""


PUBLISHED = (
    PublishedChip(
        "MLFlash-CIM, 40 nm NOR",
        35.6,
        "Zhang et al., ISCAS 2021",
        "nor-flash-40nm",
        4,
        7,
        "the peak of a macro: activations' memory and word line drivers may not be in it (half of our energy); its "
        "readout has a current interface and a shift amplifier before the converter, ours neither; our converter is "
        "the survey's median",
    ),
    PublishedChip(
        "8 Mb NOR system, 55 nm",
        7.48,
        "Jin et al.: 0.16 TOPS at 21.4 mW",
        "nor-flash-65nm",
        8,
        127,
        "a measured system with all that moves data, of which ours counts only buffers; it senses voltages, ours "
        "converts currents; 55 nm, ours 65 nm",
    ),
    PublishedChip(
        "SONOS, 40 nm",
        20.0,
        "Xiao et al., TCAS-I 2022 (Sandia, Infineon)",
        "sonos-40nm",
        8,
        127,
        "a design study; as we recall it, the charge of all input bits is summed before one conversion, in columns of "
        "up to 1,152 cells, where ours converts every bit's pulse on its own, from 144 cells",
    ),
)


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One line of the comparison."""

    published: PublishedChip
    tops_per_watt: float
    """Ours, for the reference activity."""
    adc_share: float
    """Share of the converters in our energy."""


def reference_activity(preset: Preset, code_bits: int, max_weight: int, positions: int = 64) -> Activity:
    """A layer that fills whole tiles, with codes as after a Relu (half of them 0, the others spread evenly) and normal
    weights of σ = `max_weight`/4; differential pairs in neighboring columns.
    """
    rng = np.random.default_rng(0)
    rows, outputs = preset.tile.rows, preset.tile.columns // 2
    codes = rng.integers(1, 2**code_bits, (positions, rows)) * rng.integers(0, 2, (positions, rows))
    driven = pulses_of(2**code_bits - 1, preset.drive.bits)
    pulses = np.stack([pulse.of(codes.astype(np.uint8)) for pulse in driven])
    weights = np.rint(rng.normal(0, max_weight / 4, (rows, outputs))).astype(np.int64).clip(-max_weight, max_weight)
    pairs = np.stack([weights.clip(min=0), -weights.clip(max=0)], axis=-1).reshape(rows, 2 * outputs)
    bits = preset.slices.bits_per_cell
    tops = preset.slices.tops(max_weight)
    levels = [pairs >> bits * shift & (1 << bits) - 1 for shift in reversed(range(len(tops)))]
    full = full_code(driven)
    tiles = [tile_activity(pulses, level, top, full, preset) for level, top in zip(levels, tops, strict=True)]
    return side_by_side(tiles, positions * rows * outputs)


def comparison() -> list[ComparisonRow]:
    """Our presets on the reference activity, beside the published chips."""
    rows = []
    for chip in PUBLISHED:
        preset = load_preset(chip.preset)
        ours = estimate([reference_activity(preset, chip.code_bits, chip.max_weight)], preset)
        rows.append(ComparisonRow(chip, ours.tops_per_watt, ours.energy_uj.adc / ours.energy_uj.total))
    return rows
