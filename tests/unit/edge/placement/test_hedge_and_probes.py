"""When a tail starts a second time at home, and when an unused link is measured again."""

import pytest
from edgedet_edge.placement import BreakerState, Hedging, ProbeSchedule
from edgedet_edge.placement.hedge import CAP, SHARE
from edgedet_edge.placement.probes import LONGEST_INTERVAL_S, probe_interval_s
from hypothesis import given
from hypothesis import strategies as st

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def test_the_timer_has_a_margin_over_the_prediction() -> None:
    assert Hedging().timer_ms(100.0) == pytest.approx(130.0)


def test_the_timer_follows_what_handovers_really_take() -> None:
    hedging = Hedging()
    for _ in range(100):
        hedging.answered(100.0, 200.0)
    assert hedging.timer_ms(100.0) == pytest.approx(255.0)


def test_answers_sooner_than_predicted_do_not_shorten_the_timer() -> None:
    hedging = Hedging()
    hedging.answered(100.0, 10.0)
    assert hedging.timer_ms(100.0) == pytest.approx(130.0)


@given(st.lists(st.sampled_from(("handover", "due")), max_size=400))
def test_hedges_stay_within_two_percent_of_handovers_and_the_cap(events: list[str]) -> None:
    hedging = Hedging()
    handovers = hedges = 0
    for event in events:
        if event == "handover":
            hedging.handed_over()
            handovers += 1
        else:
            hedges += hedging.take(0.0, breaker_open=False)
        assert hedges <= SHARE * handovers + CAP + 1e-9


def test_a_busy_edge_does_not_hedge_unless_the_cloud_is_gone() -> None:
    hedging = Hedging()
    assert not hedging.take(0.95, breaker_open=False)
    assert hedging.take(0.95, breaker_open=True)


def test_hedging_a_dead_cloud_costs_no_tokens() -> None:
    hedging = Hedging()
    assert all(hedging.take(0.0, breaker_open=True) for _ in range(100))
    assert sum(hedging.take(0.0, breaker_open=False) for _ in range(100)) == CAP


def test_probes_take_at_most_a_fiftieth_of_the_wire() -> None:
    assert probe_interval_s(0.0) == 1.0
    assert probe_interval_s(100.0) == 5.0
    assert probe_interval_s(1e6) == LONGEST_INTERVAL_S


def test_a_cloud_never_heard_of_is_probed_at_once_and_then_each_second() -> None:
    schedule = ProbeSchedule()
    assert schedule.due(0.0, CLOSED, 0, None)
    schedule.asked(0.0)
    assert not schedule.due(5.0, CLOSED, 0, None)
    schedule.ended()
    assert schedule.due(5.0, CLOSED, 0, None)
    schedule.asked(5.0)
    schedule.ended()
    assert not schedule.due(5.9, CLOSED, 0, None)
    assert schedule.due(6.1, CLOSED, 0, None)


def test_a_cloud_that_answers_is_not_probed() -> None:
    schedule = ProbeSchedule()
    schedule.heard(10.0)
    assert not schedule.due(10.9, CLOSED, 0, 1.0)
    assert schedule.due(11.1, CLOSED, 0, 1.0)


def test_a_call_on_its_way_will_tell_as_much_as_a_probe() -> None:
    assert not ProbeSchedule().due(10.0, CLOSED, 1, 1.0)


def test_an_open_breaker_is_left_alone_and_a_half_open_one_asked() -> None:
    schedule = ProbeSchedule()
    schedule.heard(10.0)
    assert not schedule.due(20.0, OPEN, 0, 1.0)
    assert schedule.due(10.1, HALF_OPEN, 0, 1.0)
    assert schedule.due(10.1, HALF_OPEN, 3, 1.0)
    schedule.asked(10.1)
    assert not schedule.due(10.2, HALF_OPEN, 0, 1.0)


@given(
    st.lists(st.tuples(st.sampled_from(("heard", "asked", "ended")), st.floats(0.0, 3.0)), max_size=40),
    st.floats(0.0, 10.0),
)
def test_a_healthy_cloud_without_calls_is_probed_within_the_interval(
    events: list[tuple[str, float]], wire_ms: float
) -> None:
    schedule, now_s = ProbeSchedule(), 0.0
    for event, pause_s in events:
        now_s += pause_s
        if event == "heard":
            schedule.heard(now_s)
        elif event == "asked":
            schedule.asked(now_s)
        else:
            schedule.ended()
    schedule.ended()
    assert schedule.due(now_s + probe_interval_s(wire_ms) + 1e-6, CLOSED, 0, wire_ms)
