"""Temperature and corners: signs and limits of the cell's physics, and what tracking leaves over."""

import numpy as np
import pytest
from edgedet_nvm.device.environment import Environment, apparent_na
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.errors import OutOfRange

PRESET = load_preset("nor-flash-65nm")
assert PRESET.environment is not None
assert PRESET.transistor is not None
TRANSISTOR = PRESET.transistor
UNTRACKED = PRESET.environment.model_copy(update={"threshold_tracking": 0.0, "reference_tracking": 0.0})
CELLS_NA = np.array([0.0, 1.0, 133.0, 1000.0, 2000.0])


def seen(environment: Environment, temperature_c: float = 25.0, corner: str = "tt") -> np.ndarray:
    return apparent_na(CELLS_NA, temperature_c, corner, environment, TRANSISTOR)


def test_at_25_degrees_and_typical_nothing_changes():
    assert (seen(PRESET.environment) == CELLS_NA).all()


@pytest.mark.parametrize("corner", ["ff", "ss", "fs", "sf"])
def test_a_cell_without_current_never_gets_any(corner: str):
    assert seen(PRESET.environment, 125.0, corner)[0] == 0


def test_currents_of_cells_near_or_below_threshold_rise_with_temperature():
    course = np.stack([seen(UNTRACKED, celsius) for celsius in (-40.0, 0.0, 25.0, 85.0, 125.0)])
    assert (np.diff(course[:, 1:], axis=0) > 0).all()
    gain = course[-1, 1:] / CELLS_NA[1:]
    assert (np.diff(gain) < 0).all()  # the further below threshold, the more


def test_strong_inversion_follows_mobility_alone_when_the_threshold_is_tracked():
    tracked = UNTRACKED.model_copy(update={"threshold_tracking": 1.0})
    strong_na = np.array([1e7])
    found = apparent_na(strong_na, 125.0, "tt", tracked, TRANSISTOR)
    assert found / strong_na == pytest.approx((398.15 / 298.15) ** -1.5, rel=0.01)


def test_corners_are_ordered_and_the_reference_counts_the_other_way():
    fast, slow, fast_slow, slow_fast = (seen(UNTRACKED, corner=name)[1:] for name in ("ff", "ss", "fs", "sf"))
    assert (fast > CELLS_NA[1:]).all()
    assert (slow < CELLS_NA[1:]).all()
    assert (fast_slow > fast).all()  # the same cells, a smaller reference
    assert (slow_fast < slow).all()


@pytest.mark.parametrize(("temperature_c", "corner"), [(-40.0, "tt"), (125.0, "tt"), (25.0, "ss"), (85.0, "ff")])
def test_a_reference_that_follows_fully_leaves_its_replica_unchanged(temperature_c: float, corner: str):
    full = UNTRACKED.model_copy(update={"reference_tracking": 1.0})
    mirrors = full.corner(corner).reference
    assert seen(full, temperature_c, corner)[3] * mirrors == pytest.approx(1000.0)


@pytest.mark.parametrize("name", ["nor-flash-65nm", "nor-flash-40nm"])
def test_levels_of_the_presets_drift_no_more_than_the_published_three_percent(name: str):
    preset = load_preset(name)
    target_na = preset.cell.target_na(np.arange(16), 15)
    hot_na = apparent_na(target_na, 85.0, "tt", preset.environment, preset.transistor)
    drift = np.abs(hot_na - target_na).max() / preset.cell.i_max_na
    assert 0.025 < drift < 0.03


@pytest.mark.parametrize("temperature_c", [-41.0, 126.0, float("nan")])
def test_temperatures_outside_of_the_range_are_refused(temperature_c: float):
    with pytest.raises(OutOfRange, match=r"temperature_c: .* is outside of the preset's -40…125"):
        seen(PRESET.environment, temperature_c)
