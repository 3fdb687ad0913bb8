"""A chip: the same cells whenever and in whatever order they are asked for, in every condition."""

import numpy as np
import pytest
from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.chip import Chip, exact_grid_bits
from edgedet_nvm.device.environment import Corner
from edgedet_nvm.device.ir_drop import Wires, nor_coefficient
from edgedet_nvm.device.preset import Preset, load_preset
from edgedet_nvm.errors import OutOfRange
from hypothesis import given, settings
from hypothesis import strategies as st

NOR = load_preset("nor-flash-65nm")
SONOS = load_preset("sonos-40nm")
IDEAL = load_preset("ideal")
LEVELS = np.random.default_rng(0).integers(0, 16, (64, 48))


def test_a_chip_stays_the_same_chip_whatever_was_asked_before():
    first = Chip(NOR, 7).effective_levels(LEVELS, "layer 1")
    other = Chip(NOR, 7)
    other.effective_levels(LEVELS, "layer 2")
    other.read_sigma(first)
    assert (other.effective_levels(LEVELS, "layer 1") == first).all()
    assert (other.effective_levels(LEVELS, "layer 1") == first).all()


@pytest.mark.parametrize(("seed", "key"), [(8, "layer 1"), (7, "layer 2")])
def test_other_chips_and_other_cells_err_otherwise(seed: int, key: str):
    first = Chip(NOR, 7).effective_levels(LEVELS, "layer 1", grid_bits=None)
    other = Chip(NOR, seed).effective_levels(LEVELS, key, grid_bits=None)
    errors = np.stack([(first - LEVELS)[LEVELS > 0], (other - LEVELS)[LEVELS > 0]])
    assert abs(np.corrcoef(errors)[0, 1]) < 0.1


@pytest.mark.parametrize("preset", [NOR, load_preset("nor-flash-40nm")], ids=lambda preset: preset.name)
def test_a_chip_keeps_its_errors_over_temperature_corner_and_time(preset: Preset):
    levels = np.full(4000, 9)
    fresh = Chip(preset, 1).effective_levels(levels, "k", grid_bits=None)
    for later in (Chip(preset, 1, 85.0), Chip(preset, 1, corner="ss"), Chip(preset, 1, hours=1000.0)):
        assert np.corrcoef(fresh, later.effective_levels(levels, "k", grid_bits=None))[0, 1] > 0.999


def test_errors_have_the_presets_sigma():
    found = Chip(NOR, 1).effective_levels(np.full(100_000, 10), "k", grid_bits=None)
    working = found[np.abs(found - 10) < 1]
    assert working.std() == pytest.approx(0.01 * 10, rel=0.02)


def test_temperature_and_time_move_levels_monotonically():
    levels = np.arange(1, 16)
    celsius = [Chip(NOR, 3, when).effective_levels(levels, "k", grid_bits=None) for when in (-40, 0, 25, 85, 125)]
    hours = [Chip(NOR, 3, hours=when).effective_levels(levels, "k", grid_bits=None) for when in (0, 1, 100, 87_600)]
    assert (np.diff([row[0] for row in celsius]) > 0).all()
    assert (np.diff([row[-1] for row in celsius]) < 0).all()  # above the replica cell
    assert (np.diff([row[0] for row in hours]) > 0).all()
    assert (np.diff([row[-1] for row in hours]) < 0).all()


@settings(max_examples=50)
@given(st.integers(0, 2**40))
def test_an_ideal_chip_carries_its_targets(seed: int):
    chip = Chip(IDEAL, seed)
    assert chip.is_ideal
    assert (chip.effective_levels(LEVELS, "k") == LEVELS).all()
    assert chip.uniform_sigma() == 0
    assert (chip.drop_coefficient(LEVELS.astype(float), 15) == 0).all()


def test_a_chip_of_flash_is_not_ideal_and_even_an_ideal_one_refuses_levels_it_does_not_have():
    assert not Chip(NOR, 0).is_ideal
    assert not Chip(SONOS, 0).is_ideal
    with pytest.raises(OutOfRange, match="not within 0…7"):
        Chip(IDEAL, 0).effective_levels(LEVELS, "k", top=7)


@settings(max_examples=50)
@given(st.integers(0, 10))
def test_levels_lie_on_the_grid_that_was_asked_for(grid_bits: int):
    found = Chip(NOR, 2).effective_levels(LEVELS, "k", grid_bits=grid_bits) * 2**grid_bits
    free = Chip(NOR, 2).effective_levels(LEVELS, "k", grid_bits=None) * 2**grid_bits
    assert (found == np.rint(found)).all()
    assert np.abs(found - free).max() <= 0.5


def test_on_the_exact_grid_float32_sums_do_not_depend_on_their_order():
    rows, max_code = 576, 15
    grid_bits = exact_grid_bits(rows, max_code, 17.0)
    assert grid_bits == 6
    rng = np.random.default_rng(4)
    levels = Chip(load_preset("nor-flash-40nm"), 0).effective_levels(
        rng.integers(0, 16, rows), "k", grid_bits=grid_bits
    )
    products = (rng.integers(0, max_code + 1, rows) * levels).astype(np.float32)
    exact = products.astype(np.float64).sum()
    for _ in range(20):
        assert np.cumsum(rng.permutation(products), dtype=np.float32)[-1] == exact


def test_level_units_are_those_of_the_slice():
    found = Chip(NOR, 5).effective_levels(np.full(2000, 7), "k", top=7, grid_bits=None)
    assert np.median(found) == pytest.approx(7, rel=0.01)
    assert Chip(NOR, 5).uniform_sigma(7) == pytest.approx(0.003 * 7)
    assert Chip(SONOS, 5).uniform_sigma() is None
    assert Chip(SONOS, 5).read_sigma(np.array([127.0])) == pytest.approx(12.58037 * 127 / 1600, rel=0.01)


def test_a_measured_cells_levels_stand_where_they_were_measured():
    cell = Cell(
        level_count=3, i_max_na=200.0, off_na=1.0, read_v=0.6, mean_na=(1.0, 90.0, 200.0), sigma_na=(0.0, 0.0, 0.0)
    )
    slices = IDEAL.slices.model_copy(update={"bits_per_cell": 1})
    chip = Chip(IDEAL.model_copy(update={"cell": cell, "slices": slices}), 0)
    assert not chip.is_ideal
    assert chip.effective_levels(np.arange(3), "k", grid_bits=None) == pytest.approx([0.01, 0.9, 2.0])


def test_the_drop_coefficient_is_that_of_the_currents_in_amperes():
    chip, levels = Chip(NOR, 0), LEVELS.astype(np.float64)
    codes = np.random.default_rng(1).integers(0, 16, len(levels))
    sums = codes @ levels
    per_level_a = 2000e-9 / 15
    amperes = sums * per_level_a / 15
    k_per_a = nor_coefficient(levels * per_level_a / 0.6, 2.4, 0.6)
    expected = amperes / (1 + k_per_a * amperes)
    k = chip.drop_coefficient(levels, 15)
    assert sums / (1 + k * sums) * per_level_a / 15 == pytest.approx(expected)


def test_wires_at_mean_inputs_agree_with_those_that_follow_the_photo():
    chip, levels = Chip(NOR, 0), np.random.default_rng(2).integers(0, 16, (576, 8)).astype(np.float64)
    codes = np.full(576, 4)
    sums, k = codes @ levels, chip.drop_coefficient(levels, 15)
    linear = codes @ chip.after_wires(levels, codes / 15)
    assert (linear < 0.97 * sums).all()
    assert linear == pytest.approx(sums / (1 + k * sums), rel=0.01)


def test_wires_carry_the_cells_current_wherever_the_converters_reference_stands():
    assert NOR.environment is not None
    moved = NOR.environment.model_copy(update={"ff": Corner(reference=1.25)})
    nominal, other = Chip(NOR, 0), Chip(NOR.model_copy(update={"environment": moved}), 0, corner="ff")
    levels, mean = LEVELS + 1.0, np.full(len(LEVELS), 0.3)  # the same currents, taken for 1/1.25 of the levels
    assert other.drop_coefficient(levels / 1.25, 15) / 1.25 == pytest.approx(nominal.drop_coefficient(levels, 15))
    assert other.after_wires(levels / 1.25, mean) * 1.25 == pytest.approx(nominal.after_wires(levels, mean))


def test_stuck_cells_do_not_age():
    programming = NOR.programming.model_copy(update={"stuck_on": 0.3})
    worn, levels = NOR.model_copy(update={"programming": programming}), np.full(2000, 9)
    fresh, old = (Chip(worn, 1, hours=hours).effective_levels(levels, "k", grid_bits=None) for hours in (0, 1000))
    stuck = fresh > 14
    assert stuck.mean() == pytest.approx(0.3, abs=0.05)
    assert old[stuck] == pytest.approx(15)
    assert (old[~stuck] != fresh[~stuck]).all()


def test_a_crossbars_wires_are_in_its_levels_once_and_for_all():
    wires = Wires(topology="crossbar", word_line_ohm=5.0, bit_line_ohm=5.0, source_line_ohm=0.0)
    chip, levels = Chip(NOR.model_copy(update={"wires": wires}), 0), LEVELS + 1.0
    left = chip.after_wires(levels, np.ones(len(levels)))
    assert (left < levels).all()
    assert left[0, 0] / levels[0, 0] > left[-1, -1] / levels[-1, -1]
    assert (chip.drop_coefficient(levels, 15) == 0).all()


@pytest.mark.parametrize(
    ("preset", "condition", "message"),
    [
        (NOR, {"temperature_c": 150.0}, "temperature_c: 150 is outside"),
        (NOR, {"hours": 1e6}, "hours: 1e"),
        (NOR, {"corner": "st"}, "corner: there is no 'st'; give one of tt, ff, ss, fs, sf"),
        (NOR, {"seed": -1}, "seed: -1 must not be negative"),
        (SONOS, {"temperature_c": 85.0}, "sonos-40nm is known at 25 °C, tt only"),
        (SONOS, {"corner": "ff"}, "sonos-40nm is known at 25 °C, tt only"),
        (NOR.model_copy(update={"retention": None}), {"hours": 1.0}, "is known at 0 h only"),
        (IDEAL, {"temperature_c": 9999.0}, "ideal is known at 25 °C, tt only"),
        (IDEAL, {"corner": "ff"}, "ideal is known at 25 °C, tt only"),
        (IDEAL, {"hours": 1e9}, "ideal is known at 0 h only"),
    ],
)
def test_conditions_that_a_preset_does_not_hold_for_are_refused(
    preset: Preset, condition: dict[str, float | str], message: str
):
    with pytest.raises(OutOfRange, match=message):
        Chip(**{"preset": preset, "seed": 0, **condition})
