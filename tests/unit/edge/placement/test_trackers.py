"""The edge's and a cloud's load, followed event by event."""

from random import Random

import pytest
from edgedet_edge.placement import BreakerState, CloudReport, CloudTracker, EdgeTracker
from edgedet_edge.placement.estimators import ServiceTime
from hypothesis import given
from hypothesis import strategies as st

REPORT = CloudReport(backlog_ms=12.0, utilization=0.5, mean_service_ms=15.0, workers=2)


def edge(workers: int = 1) -> EdgeTracker:
    return EdgeTracker(workers, ServiceTime(20.0))


def test_an_edge_counts_queue_and_residual_work() -> None:
    tracker = edge()
    for _ in range(3):
        tracker.admitted(10.0)
        tracker.queued()
    tracker.started("a", 10.0)
    tracker.decided("a", 15.0, 10.0)
    state = tracker.state(10.005)
    assert state.waiting == 2
    assert state.residual_ms == pytest.approx((10.0,))
    assert state.wait_ms == pytest.approx(2 * 20.0 + 10.0)


def test_a_job_that_runs_over_its_prediction_has_nothing_left() -> None:
    tracker = edge()
    tracker.queued()
    tracker.started("a", 10.0)
    tracker.decided("a", 15.0, 10.0)
    assert tracker.state(11.0).residual_ms == (0.0,)


def test_the_mean_service_time_follows_what_workers_were_busy_for() -> None:
    tracker = edge()
    tracker.queued()
    tracker.started("a", 10.0)
    tracker.decided("a", 15.0, 10.0)
    tracker.ended("a", 10.06)
    assert tracker.state(10.06).mean_service_ms == pytest.approx(20.0 + 0.05 * 40.0)


def test_a_job_dropped_when_its_turn_comes_says_nothing_of_service_times() -> None:
    tracker = edge()
    tracker.queued()
    tracker.started("a", 10.0)
    tracker.ended("a", 10.0)
    assert tracker.state(10.0).mean_service_ms == 20.0


def test_a_job_broken_off_in_the_middle_says_nothing_of_service_times() -> None:
    tracker = edge()
    tracker.queued()
    tracker.started("a", 10.0)
    tracker.decided("a", 15.0, 10.0)
    tracker.ended("a", 10.001, broken_off=True)
    assert tracker.state(10.001).mean_service_ms == 20.0


def test_utilization_is_the_share_of_busy_workers() -> None:
    tracker = edge(workers=2)
    tracker.queued()
    tracker.started("a", 0.0)
    assert tracker.utilization(20.0) == pytest.approx(0.5, abs=1e-3)
    tracker.ended("a", 20.0)
    assert tracker.utilization(40.0) == pytest.approx(0.0, abs=1e-3)


@given(st.lists(st.sampled_from(("admit", "drop", "start", "end")), max_size=200), st.integers(1, 4))
def test_an_edge_never_loses_count(events: list[str], workers: int) -> None:
    tracker = edge(workers)
    waiting, running, now_s = 0, list[int](), 0.0
    for number, event in enumerate(events):
        now_s += 0.003
        if event == "admit":
            tracker.admitted(now_s)
            tracker.queued()
            waiting += 1
        elif event == "drop" and waiting:
            tracker.unqueued()
            waiting -= 1
        elif event == "start" and waiting and len(running) < workers:
            tracker.started(number, now_s)
            tracker.decided(number, 10.0, now_s)
            running.append(number)
            waiting -= 1
        elif event == "end" and running:
            tracker.ended(running.pop(0), now_s)
        state = tracker.state(now_s)
        assert (state.waiting, len(state.residual_ms)) == (waiting, len(running))
        assert 0.0 <= state.utilization <= 1.0


def measured() -> CloudTracker:
    tracker = CloudTracker("a:1")
    tracker.round_trip.observe(4.0, 10.0)
    tracker.bandwidth.observe(40_000.0, 4.0, 10.0)
    return tracker


def test_a_cloud_never_heard_of_is_not_usable_and_due_for_a_probe() -> None:
    tracker = CloudTracker("a:1")
    assert not tracker.state(10.0).usable
    assert tracker.probe_due(10.0, 40_000.0)


def test_a_call_waits_takes_the_wire_and_leaves_it() -> None:
    tracker = measured()
    for call in ("a", "b"):
        tracker.queued(call, 40_000.0, 15.0)
    assert tracker.state(10.0).link.queued_bytes == 80_000.0
    tracker.sending("a", 10.0)
    link = tracker.state(10.002).link
    assert (link.waiting, link.queued_bytes, link.transfer_bytes) == (1, 40_000.0, 40_000.0)
    assert link.transfer_elapsed_ms == pytest.approx(2.0)
    assert tracker.on_own_wire("a")
    tracker.sent("a", 10.004)
    assert tracker.state(10.004).link.transfer_bytes == 0.0
    assert not tracker.on_own_wire("a")
    assert tracker.on_own_wire("b")


def test_an_upload_takes_what_its_round_trip_leaves() -> None:
    tracker = CloudTracker("a:1")
    tracker.round_trip.observe(4.0, 10.0)
    tracker.uploaded("a", 40_000.0, 12.0, 10.0)
    assert tracker.bandwidth.bytes_ms(10.0) == pytest.approx(5000.0)
    assert tracker.round_trip.rtt_ms == 4.0


def test_an_upload_faster_than_the_round_trip_tells_that_the_trip_is_shorter_now() -> None:
    tracker = CloudTracker("a:1")
    tracker.round_trip.observe(40.0, 10.0)
    tracker.uploaded("a", 40_000.0, 10.0, 10.0)
    assert tracker.bandwidth.bytes_ms(10.0) == pytest.approx(4000.0)
    for _ in range(20):
        tracker.uploaded("a", 40_000.0, 10.0, 10.0)
    link = tracker.state(10.0).link
    assert link.rtt_ms == pytest.approx(10.0, rel=0.01)
    assert link.bandwidth_bytes_ms is not None
    assert link.bandwidth_bytes_ms >= 4000.0


def test_an_upload_that_is_overdue_tells_that_the_link_is_slower_now() -> None:
    tracker = measured()
    for call in ("stuck", "there"):
        tracker.queued(call, 40_000.0, 15.0)
        tracker.sending(call, 10.0)
        tracker.sent(call, 10.004)
    tracker.uploaded("there", 40_000.0, 8.0, 10.008)
    tracker.overdue("there", 10.504)
    assert tracker.bandwidth.bytes_ms(10.504) == pytest.approx(10_000.0), "it is the answer that is late"
    tracker.overdue("stuck", 10.504)
    assert tracker.bandwidth.bytes_ms(10.504) == pytest.approx(40_000.0 / 500.0)
    tracker.overdue("stuck", 10.204)
    assert tracker.bandwidth.bytes_ms(10.504) == pytest.approx(40_000.0 / 500.0), "a bound, no measurement"


def test_the_round_trip_is_measured_again_while_photos_travel_and_the_wire_is_free() -> None:
    tracker = measured()
    tracker.replied("nobody's", CloudReport(0.0, 0.1, 10.0, 1), 20.0)
    assert not tracker.round_trip_due(20.0)
    tracker.queued("a", 40_000.0, 15.0)
    tracker.sending("a", 20.5)
    assert not tracker.round_trip_due(20.5)
    tracker.sent("a", 20.51)
    assert tracker.round_trip_due(20.51)
    assert not tracker.probe_due(20.51, 40_000.0)
    tracker.round_trip.observe(60.0, 20.6)
    assert tracker.round_trip.rtt_ms == 60.0, "what is old counts no more"
    assert not CloudTracker("never:1").round_trip_due(20.0), "a probe comes first"


def test_a_report_covers_what_had_reached_the_cloud_when_it_was_written() -> None:
    tracker = measured()
    for call, sent_s in (("a", 10.0), ("b", 10.001), ("c", 10.009)):
        tracker.queued(call, 40_000.0, 15.0)
        tracker.sending(call, sent_s)
        tracker.sent(call, sent_s)
    assert tracker.state(10.009).own_ms == 45.0
    tracker.replied("a", REPORT, 10.01)
    state = tracker.state(10.02)
    assert state.own_ms == 15.0
    assert (state.backlog_ms, state.workers, state.mean_service_ms, state.utilization) == (12.0, 2, 15.0, 0.5)
    assert state.reply_age_ms == pytest.approx(10.0)


@pytest.mark.parametrize("ending", ["replied", "gone"])
def test_a_call_that_ends_on_the_wire_frees_it(ending: str) -> None:
    tracker = measured()
    tracker.queued("a", 40_000.0, 15.0)
    tracker.sending("a", 10.0)
    if ending == "replied":
        tracker.replied("a", REPORT, 10.01)
    else:
        tracker.gone("a", 10.01)
    assert tracker.outstanding == 0
    assert tracker.state(20.0).link.utilization == pytest.approx(0.0, abs=1e-3)


def test_a_late_word_on_a_call_that_is_gone_does_not_free_another_s_wire() -> None:
    tracker = measured()
    for call in ("a", "b"):
        tracker.queued(call, 40_000.0, 15.0)
    tracker.sending("a", 10.0)
    tracker.gone("a", 10.001)
    tracker.sending("b", 10.001)
    tracker.sent("a", 10.002)
    assert tracker.state(15.0).link.utilization == pytest.approx(1.0, abs=0.01)


def test_a_cloud_with_calls_under_way_is_not_probed() -> None:
    tracker = measured()
    tracker.replied("x", REPORT, 10.0)
    assert tracker.probe_due(12.0, 40_000.0)
    tracker.queued("a", 40_000.0, 15.0)
    assert not tracker.probe_due(12.0, 40_000.0)
    tracker.gone("a", 12.0)
    assert tracker.probe_due(12.0, 40_000.0)


def test_a_slow_link_is_probed_less_often() -> None:
    tracker = CloudTracker("a:1")
    tracker.bandwidth.observe(40_000.0, 100.0, 10.0)
    tracker.replied("x", REPORT, 10.0)
    assert not tracker.probe_due(14.9, 40_000.0)
    assert tracker.probe_due(15.1, 40_000.0)


def test_the_breaker_s_state_is_told() -> None:
    tracker = measured()
    tracker.breaker.failed(10.0, Random(0))
    assert tracker.state(10.1).breaker is BreakerState.OPEN
    assert not tracker.state(10.1).usable
    assert tracker.state(11.0).breaker is BreakerState.HALF_OPEN
    assert tracker.probe_due(11.0, 40_000.0)
