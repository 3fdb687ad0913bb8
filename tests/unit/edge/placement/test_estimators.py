"""Smoothed rates and link estimates."""

import math

import pytest
from edgedet_edge.placement.estimators import Bandwidth, Level, Rate, RatioQuantile, RoundTrip, ServiceTime
from hypothesis import given
from hypothesis import strategies as st


def test_a_level_is_averaged_over_a_second_or_so() -> None:
    level = Level()
    level.set(1.0, 100.0)
    assert level.at(100.0) == 0.0
    assert level.at(101.0) == pytest.approx(1 - math.exp(-1))
    assert level.at(110.0) == pytest.approx(1.0, abs=1e-3)
    level.set(0.0, 110.0)
    assert level.at(111.0) == pytest.approx(math.exp(-1), abs=1e-3)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 5.0)), max_size=30))
def test_a_level_stays_between_its_extremes(steps: list[tuple[float, float]]) -> None:
    level, now_s = Level(), 0.0
    for value, pause_s in steps:
        level.set(value, now_s)
        now_s += pause_s
        assert 0.0 <= level.at(now_s) <= 1.0


def test_a_steady_stream_shows_its_rate() -> None:
    rate = Rate()
    for index in range(1000):
        rate.event(50.0 + index * 0.02)
    assert rate.per_ms(50.0 + 999 * 0.02) == pytest.approx(0.05, rel=0.02)


def test_a_stream_that_stops_is_forgotten() -> None:
    rate = Rate()
    rate.event(1.0)
    assert rate.per_ms(20.0) < 1e-9


def test_service_time_moves_by_a_twentieth() -> None:
    service = ServiceTime(20.0)
    service.observe(40.0)
    assert service.mean_ms == pytest.approx(21.0)


def test_one_request_in_whose_middle_the_machine_stood_still_does_not_close_the_edge() -> None:
    service = ServiceTime(20.0)
    service.observe(600_000.0)
    assert service.mean_ms == pytest.approx(20.0 + 0.05 * 99 * 20.0)


def test_a_round_trip_starts_with_the_first_measurement() -> None:
    round_trip = RoundTrip()
    assert round_trip.rtt_ms is None
    round_trip.observe(10.0, 0.0)
    assert round_trip.rtt_ms == 10.0
    round_trip.observe(20.0, 1.0)
    assert round_trip.rtt_ms == pytest.approx(13.0)
    round_trip.observe(40.0, 12.0)
    assert round_trip.rtt_ms == 40.0


def test_bandwidth_is_unknown_until_measured_and_after_ten_seconds() -> None:
    bandwidth = Bandwidth()
    assert bandwidth.bytes_ms(0.0) is None
    assert bandwidth.age_s(0.0) is None
    bandwidth.observe(40_000.0, 4.0, 100.0)
    assert bandwidth.bytes_ms(110.0) == 10_000.0
    assert bandwidth.bytes_ms(110.1) is None
    assert bandwidth.age_s(111.0) == pytest.approx(11.0)


def test_a_slow_link_that_is_probed_rarely_is_trusted_for_longer() -> None:
    bandwidth = Bandwidth()
    bandwidth.observe(40_000.0, 400.0, 0.0)
    assert bandwidth.bytes_ms(59.0) == 100.0
    assert bandwidth.bytes_ms(61.0) is None


def test_after_a_silence_the_new_measurement_counts_alone() -> None:
    bandwidth = Bandwidth()
    bandwidth.observe(10_000.0, 1.0, 0.0)
    bandwidth.observe(10_000.0, 2.0, 1.0)
    assert bandwidth.bytes_ms(1.0) == pytest.approx(10_000 + 0.3 * (5_000 - 10_000))
    bandwidth.observe(10_000.0, 100.0, 50.0)
    assert bandwidth.bytes_ms(50.0) == 100.0


def test_a_wire_time_lost_in_the_noise_does_not_make_a_link_of_terabits() -> None:
    bandwidth = Bandwidth()
    bandwidth.observe(40_000.0, -0.2, 0.0)
    assert bandwidth.bytes_ms(0.0) == 1.25e6


def test_quantiles_are_of_the_last_hundred_ratios() -> None:
    ratios = RatioQuantile()
    assert ratios.quantile(0.95) == 1.0
    for _ in range(100):
        ratios.observe(10.0, 1000.0)
    for index in range(100):
        ratios.observe(100.0, float(index + 1))
    assert ratios.quantile(0.95) == pytest.approx(0.95)
    assert ratios.quantile(0.0) == pytest.approx(0.01)
