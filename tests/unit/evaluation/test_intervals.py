"""Intervals: known formulas, and properties that hold for any data."""

import math

import numpy as np
import pytest
from edgedet_evaluation.intervals import (
    bootstrap_interval,
    bootstrap_share,
    bootstrap_weights,
    mean_interval,
    median_interval,
    paired_difference,
    proportion,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats


@given(photos=st.integers(1, 200), seed=st.integers(0, 1000))
def test_every_resample_draws_as_many_photos_as_there_are(photos: int, seed: int):
    weights = bootstrap_weights(photos, resamples=20, seed=seed)
    assert weights.shape == (20, photos)
    assert (weights.sum(axis=1) == photos).all()
    assert (weights == bootstrap_weights(photos, resamples=20, seed=seed)).all()


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1))
def test_a_proportion_has_wilsons_interval(trials: int, share: float):
    successes = round(share * trials)
    found = proportion(successes, trials)
    z, p = stats.norm.ppf(0.975), successes / trials
    center = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    assert found.value == p
    assert found.low == pytest.approx(max(0, center - half), abs=1e-9)
    assert found.high == pytest.approx(min(1, center + half), abs=1e-9)


@given(values=st.lists(st.floats(0.1, 10), min_size=1, max_size=100))
def test_a_median_lies_in_its_interval(values: list[float]):
    found = median_interval(values)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


def test_the_median_of_many_draws_is_covered_about_nineteen_times_of_twenty():
    draws = np.random.default_rng(0).exponential(size=(400, 61))
    intervals = [median_interval(list(row)) for row in draws]
    covered = sum(found.low <= math.log(2) <= found.high for found in intervals) / len(intervals)
    assert 0.92 <= covered <= 1.0


@pytest.mark.parametrize("count", [6, 9, 10, 30, 61, 100])
def test_the_interval_of_a_median_is_the_narrowest_that_covers_in_95_of_100_cases(count: int):
    found = median_interval([*map(float, range(count))])
    left_out = int(found.low)
    assert found.high == count - 1 - left_out, "as many values above it as below"
    # The true median lies outside where at most `left_out` values lie on one side of it.
    assert 2 * stats.binom.cdf(left_out, count, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(left_out + 1, count, 0.5) > 0.05


@given(arrays(np.bool_, 50), arrays(np.bool_, 50))
def test_exchanging_two_systems_turns_the_difference_around(first: np.ndarray, second: np.ndarray):
    forth, back = paired_difference(first, second), paired_difference(second, first)
    assert forth.value == -back.value
    assert forth.low <= forth.value <= forth.high


def test_the_paired_interval_is_near_that_of_scipys_bootstrap():
    rng = np.random.default_rng(3)
    first = rng.random(2000) < 0.9
    second = first ^ (rng.random(2000) < 0.02)
    found = paired_difference(first, second)
    gains = second.astype(float) - first.astype(float)
    wanted = stats.bootstrap((gains,), np.mean, method="basic", n_resamples=5000, batch=100).confidence_interval
    assert found.low == pytest.approx(wanted.low, abs=2e-3)
    assert found.high == pytest.approx(wanted.high, abs=2e-3)


@pytest.mark.parametrize("photos", [3, 40, 10_000])
def test_systems_that_are_right_on_the_same_photos_may_still_differ_on_others(photos: int):
    right = np.arange(photos) % 3 > 0
    found, z = paired_difference(right, right), stats.norm.ppf(0.975)
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-(z**2) / (photos + z**2), z**2 / (photos + z**2)))


def test_the_more_photos_are_answered_differently_the_wider_is_the_interval():
    right = np.zeros(40, np.bool_)
    widths = []
    assert (paired_difference(~right, right).low, paired_difference(right, ~right).high) == (-1, 1)
    for differing in (0, 1, 2, 8, 20, 39, 40):
        other = right.copy()
        other[:differing] = True
        found = paired_difference(right, other)
        assert -1 <= found.low <= found.value == differing / 40 <= found.high <= 1
        widths.append(found.high - found.low)
    assert widths[:5] == sorted(widths[:5])
    assert min(widths) > 0.05


def test_the_paired_interval_is_that_of_a_published_example():
    """Airway hyper-responsiveness before and after a transplantation, 21 children: 1 yes-no, 7 no-yes (Fagerland,
    Lydersen & Laake 2014, "Recommended tests and confidence intervals for paired binomial proportions")."""
    first, second = np.zeros(21, np.bool_), np.zeros(21, np.bool_)
    first[:7], second[7] = True, True
    found = paired_difference(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)


def test_the_basic_interval_reflects_the_replicates():
    found = bootstrap_interval(1.0, np.linspace(1.0, 2.0, 1001))
    assert found.low == pytest.approx(2 - 1.975)
    assert found.high == pytest.approx(2 - 1.025)


def test_a_share_has_no_interval_beyond_0_and_1():
    found = bootstrap_share(0.97, np.linspace(0.9, 1.0, 1001))
    assert (found.low, found.high) == (pytest.approx(1.94 - 0.9975), 1.0)
    assert bootstrap_share(0.03, np.linspace(0.0, 0.1, 1001)).low == 0.0


def test_resamples_without_anything_to_measure_do_not_count():
    replicates = np.linspace(0.4, 0.6, 1001)
    with_empty = np.insert(replicates, [0, 500], np.nan)
    assert bootstrap_interval(0.5, with_empty) == bootstrap_interval(0.5, replicates)


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_a_mean_has_students_interval(values: list[float]):
    found = mean_interval(values)
    assert found.low <= found.value <= found.high
    spread = np.std(values, ddof=1)
    if spread > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), spread / math.sqrt(len(values)))
        np.testing.assert_allclose((found.low, found.high), expected)


def test_the_interval_of_a_single_draw_is_unbounded():
    found = mean_interval([0.5])
    assert (found.value, found.low, found.high) == (0.5, -math.inf, math.inf)
