"""The circuit breaker of one cloud."""

from random import Random

import pytest
from edgedet_edge.placement import Breaker, BreakerState


def test_a_new_breaker_is_closed() -> None:
    assert Breaker().state(0.0) is BreakerState.CLOSED


def test_one_connection_error_opens_for_half_a_second_more_or_less() -> None:
    for seed in range(20):
        breaker = Breaker()
        breaker.failed(10.0, Random(seed))
        assert breaker.state(10.39) is BreakerState.OPEN
        assert breaker.state(10.61) is BreakerState.HALF_OPEN


def test_three_late_answers_in_a_row_open() -> None:
    breaker, rng = Breaker(), Random(0)
    breaker.came_late(0.0, rng)
    breaker.came_late(0.1, rng)
    assert breaker.state(0.1) is BreakerState.CLOSED
    breaker.came_late(0.2, rng)
    assert breaker.state(0.2) is BreakerState.OPEN


def test_an_answer_between_late_ones_starts_the_count_anew() -> None:
    breaker, rng = Breaker(), Random(0)
    for _ in range(5):
        breaker.came_late(0.0, rng)
        breaker.came_late(0.0, rng)
        breaker.succeeded()
    assert breaker.state(0.0) is BreakerState.CLOSED


@pytest.mark.parametrize("seed", range(5))
def test_a_probe_that_fails_doubles_the_pause_up_to_two_seconds(seed: int) -> None:
    breaker, rng, now_s = Breaker(), Random(seed), 0.0
    pauses_s = []
    for _ in range(5):
        breaker.failed(now_s, rng)
        start_s = now_s
        while breaker.state(now_s) is BreakerState.OPEN:
            now_s += 0.01
        pauses_s.append(now_s - start_s)
    expected_s = [0.5, 1.0, 2.0, 2.0, 2.0]
    assert all(0.8 * e - 0.02 <= p <= 1.2 * e + 0.02 for p, e in zip(pauses_s, expected_s, strict=True))


def test_a_late_probe_opens_again_at_once() -> None:
    breaker, rng = Breaker(), Random(0)
    breaker.failed(0.0, rng)
    assert breaker.state(1.0) is BreakerState.HALF_OPEN
    breaker.came_late(1.0, rng)
    assert breaker.state(1.0) is BreakerState.OPEN


def test_a_probe_that_is_answered_closes_and_the_next_pause_is_short_again() -> None:
    breaker, rng = Breaker(), Random(0)
    for now_s in (0.0, 1.0, 4.0):
        breaker.failed(now_s, rng)
    breaker.succeeded()
    assert breaker.state(4.0) is BreakerState.CLOSED
    breaker.failed(5.0, rng)
    assert breaker.state(5.61) is BreakerState.HALF_OPEN


def test_errors_of_calls_that_were_under_way_do_not_lengthen_the_pause() -> None:
    breaker, rng = Breaker(), Random(0)
    for now_s in (0.0, 0.01, 0.02, 0.3):
        breaker.failed(now_s, rng)
    assert breaker.state(0.61) is BreakerState.HALF_OPEN
