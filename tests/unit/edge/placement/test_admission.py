"""Admission by predicted finish."""

from random import Random

import pytest
from edgedet_edge.placement import AdmissionControl, Admitted, NodeState, Refused, can_still_finish
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.edge.placement.scenes import IDLE_EDGE, busy_edge, cloud, job


@pytest.mark.parametrize(("latency_ms", "admitted"), [(899.0, True), (901.0, False)])
def test_nine_tenths_of_the_deadline_are_given_out(latency_ms: float, admitted: bool) -> None:
    assert isinstance(AdmissionControl().admit(latency_ms, 1000.0, Random(0), idle=False), Admitted) is admitted


@given(st.floats(0.0, 1e9), st.floats(0.1, 1e6), st.integers(0, 99))
def test_a_refusal_tells_whole_seconds_between_one_and_sixty(latency_ms: float, deadline_ms: float, seed: int) -> None:
    verdict = AdmissionControl().admit(latency_ms, deadline_ms, Random(seed), idle=False)
    if isinstance(verdict, Refused):
        assert 1 <= verdict.retry_after_s <= 60


def test_the_time_to_come_back_grows_with_the_queue_and_differs_between_clients() -> None:
    rng = Random(0)
    told = {AdmissionControl().admit(5400.0, 1000.0, rng, idle=False) for _ in range(50)}
    assert told == {Refused(5), Refused(6)}


@given(st.lists(st.booleans(), max_size=500))
def test_the_margin_stays_within_its_bounds(outcomes: list[bool]) -> None:
    control = AdmissionControl()
    for missed in outcomes:
        control.ended(missed=missed)
        assert 0.10 <= control.margin <= 0.45


def test_the_margin_rests_where_one_percent_is_missed() -> None:
    control = AdmissionControl(0.3)
    for index in range(1000):
        control.ended(missed=index % 100 == 0)
    assert control.margin == pytest.approx(0.3, abs=0.003)


def test_misses_widen_the_margin_and_answers_in_time_narrow_it() -> None:
    control = AdmissionControl(0.3)
    control.ended(missed=True)
    assert control.margin == pytest.approx(0.30297)
    for _ in range(100_000):
        control.ended(missed=False)
    assert control.margin == 0.10


def test_misses_never_shut_an_idle_node() -> None:
    control = AdmissionControl()
    for _ in range(1000):
        control.ended(missed=True)
    for latency_ms, busy, idle in (
        (500.0, True, True),
        (600.0, False, True),
        (899.0, False, True),
        (901.0, False, False),
    ):
        assert isinstance(control.admit(latency_ms, 1000.0, Random(0), idle=False), Admitted) is busy
        assert isinstance(control.admit(latency_ms, 1000.0, Random(0), idle=True), Admitted) is idle


def test_a_request_that_neither_home_nor_a_cloud_can_answer_in_time_is_dropped() -> None:
    alone, helped = NodeState(IDLE_EDGE), NodeState(IDLE_EDGE, (cloud(),))
    late = job(4, deadline_ms=10.0, queued=False)
    assert not can_still_finish(late, alone)
    assert not can_still_finish(late, helped)
    fast = NodeState(IDLE_EDGE, (cloud(tail_ms=(None,) * 4 + (3.0,)),))
    assert can_still_finish(late, fast)
    assert can_still_finish(job(4, deadline_ms=16.0, queued=False), alone)


def test_every_usable_cloud_counts_for_what_can_still_finish() -> None:
    quick = cloud("e:1", tail_ms=(None,) * 4 + (3.0,))
    many = NodeState(busy_edge(), (*(cloud(f"{n}:1") for n in range(4)), quick))
    assert can_still_finish(job(4, deadline_ms=10.0, queued=False), many)
    assert not can_still_finish(job(4, deadline_ms=10.0, queued=False, excluded=frozenset({"e:1"})), many)
