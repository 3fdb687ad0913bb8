"""Retention: log-time loss towards the neutral charge, and measured drift between its times of measurement."""

import numpy as np
import pytest
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.retention import ChargeLoss, MeasuredDrift, aged
from edgedet_nvm.device.transistor import Transistor
from edgedet_nvm.errors import OutOfRange
from pydantic import ValidationError

TRANSISTOR = Transistor(specific_na=130.0, slope_factor=1.4)
LOSS = ChargeLoss(law="charge-loss", share_per_decade=0.01, t0_h=1.0, neutral_na=1000.0, max_hours=87_600.0)
DRIFT = load_preset("sonos-40nm").retention
LEVELS_NA = np.array([0.0, 0.01, 133.0, 1000.0, 2000.0])


def after(retention: ChargeLoss | MeasuredDrift, current_na: np.ndarray, hours: float) -> np.ndarray:
    return aged(current_na, hours, retention, TRANSISTOR, np.random.default_rng(3))


def test_charge_is_lost_in_proportion_to_its_distance_from_neutral_and_to_log_time():
    found_v = TRANSISTOR.overdrive_v(after(LOSS, LEVELS_NA[1:], 999.0))
    before_v, neutral_v = TRANSISTOR.overdrive_v(LEVELS_NA[1:]), TRANSISTOR.overdrive_v(np.array(1000.0))
    assert found_v == pytest.approx(before_v + 0.03 * (neutral_v - before_v))


def test_currents_move_towards_the_neutral_current_and_never_past_it():
    hours = [0.0, 1.0, 24.0, 1000.0, 87_600.0]
    course = np.stack([after(LOSS, LEVELS_NA, when) for when in hours])
    assert (course[0] == LEVELS_NA).all()
    assert (course[:, 0] == 0).all()  # no current, nothing to move
    assert (np.diff(course[:, 1:3], axis=0) > 0).all()
    assert course[:, 3] == pytest.approx(np.full(5, 1000.0))
    assert (np.diff(course[:, 4]) < 0).all()
    assert (course[:, 2] < 1000).all()
    assert (course[:, 4] > 1000).all()


def test_measured_drift_is_the_table_at_its_times_and_lies_between_them_in_between():
    cells = np.repeat([800.0, 1600.0], 40_000)
    one_day, later, two_days = (after(DRIFT, cells, hours).reshape(2, -1).mean(axis=1) for hours in (24.0, 30.0, 48.0))
    assert one_day == pytest.approx([800 - 3.8, 1600 - 11.5], abs=0.3)
    assert two_days == pytest.approx([800 - 8.0, 1600 - 22.4], abs=0.3)
    assert (later < one_day).all()
    assert (later > two_days).all()


def test_measured_spread_grows_to_what_was_measured_programming_error_included():
    rng = np.random.default_rng(0)
    start = 800 + 19.8864 * -np.expm1(-800 / 176.3115) * rng.standard_normal(200_000)
    found = after(DRIFT, start, 120.0)
    assert found.std() == pytest.approx(34.57909 * -np.expm1(-800 / 207.34309), rel=0.02)


def test_a_cell_that_was_above_its_target_stays_so():
    start = 800 + 19.7 * np.random.default_rng(0).standard_normal(50_000)
    assert np.corrcoef(start, after(DRIFT, start, 24.0))[0, 1] > 0.7


@pytest.mark.parametrize(("retention", "hours"), [(DRIFT, 121.0), (LOSS, 1e6), (LOSS, -1.0)])
def test_times_that_the_law_does_not_hold_for_are_refused(retention: ChargeLoss | MeasuredDrift, hours: float):
    with pytest.raises(OutOfRange, match=r"hours: .* is outside of what the preset's retention holds, 0…"):
        after(retention, LEVELS_NA, hours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a_na": (1.0,)}, "one entry for each of `hours`"),
        ({"drift_na": ((0.0,),) * 6}, "every row needs one value"),
        ({"hours": (1.0, 24.0, 48.0, 72.0, 96.0, 120.0)}, "must rise from 0"),
        ({"drift_na": ((float("nan"),) * 6,) * 6}, "finite number"),
    ],
)
def test_an_incomplete_table_is_refused(change: dict[str, tuple[float, ...]], message: str):
    assert isinstance(DRIFT, MeasuredDrift)
    with pytest.raises(ValidationError, match=message):
        MeasuredDrift.model_validate({**DRIFT.model_dump(), **change})
