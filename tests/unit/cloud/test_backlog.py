"""Backlog accounting: nothing is counted twice, nothing stays behind."""

import pytest
from edgedet_cloud.backlog import Backlog
from hypothesis import given
from hypothesis import strategies as st


def test_waiting_and_running_work_add_up():
    backlog = Backlog(workers=2, mean_service_ms=10)
    assert (backlog.work_ms(0), backlog.wait_ms(0)) == (0, 0)
    for call, expected_ms in ((1, 30.0), (2, 50.0), (3, 20.0)):
        backlog.added(call, expected_ms)
    backlog.started(1, now_s=1.0)
    backlog.started(2, now_s=1.0)
    assert backlog.work_ms(1.010) == pytest.approx(20 + 40 + 20)
    assert backlog.wait_ms(1.010) == pytest.approx(40)


def test_work_that_overruns_its_estimate_counts_nothing_more():
    backlog = Backlog(workers=1, mean_service_ms=10)
    backlog.added(1, 5.0)
    backlog.started(1, now_s=0.0)
    assert backlog.work_ms(9.0) == 0


def test_a_free_worker_means_no_wait():
    backlog = Backlog(workers=2, mean_service_ms=10)
    backlog.added(1, 500.0)
    assert backlog.wait_ms(0) == 250
    backlog.started(1, now_s=0.0)
    assert backlog.wait_ms(0) == 0


def test_finished_calls_move_the_mean_and_dropped_ones_do_not():
    backlog = Backlog(workers=1, mean_service_ms=100.0)
    for call in (1, 2, 3):
        backlog.added(call, 100.0)
    backlog.started(1, now_s=0.0)
    backlog.finished(1, now_s=0.2)
    assert backlog.mean_service_ms == pytest.approx(105)
    backlog.started(2, now_s=0.2)
    backlog.dropped(2, now_s=0.2001)
    backlog.dropped(3, now_s=0.2001)
    assert backlog.mean_service_ms == pytest.approx(105)
    assert backlog.work_ms(0.3) == 0


def test_one_call_in_whose_middle_the_machine_stood_still_does_not_close_the_cloud():
    backlog = Backlog(workers=1, mean_service_ms=20.0)
    backlog.added(1, 20.0)
    backlog.started(1, now_s=0.0)
    backlog.finished(1, now_s=600.0)
    assert backlog.mean_service_ms == pytest.approx(20.0 + 0.05 * 99 * 20.0)


def test_utilization_follows_the_busy_workers_within_a_second():
    backlog = Backlog(workers=2, mean_service_ms=10)
    backlog.added(1, 10.0)
    backlog.started(1, now_s=100.0)
    assert backlog.utilization(100.0) == pytest.approx(0)
    assert backlog.utilization(100.7) == pytest.approx(0.5 * (1 - 2.718281828**-0.7))
    assert backlog.utilization(110.0) == pytest.approx(0.5, abs=1e-3)
    backlog.finished(1, now_s=110.0)
    assert backlog.utilization(120.0) == pytest.approx(0, abs=1e-3)


events = st.lists(
    st.tuples(st.sampled_from(["add", "start", "finish", "drop"]), st.floats(0, 100), st.floats(0, 2)), max_size=60
)


@given(events, st.integers(1, 4))
def test_whatever_happens_the_work_is_that_of_the_calls_that_are_left(
    happenings: list[tuple[str, float, float]], workers: int
):
    backlog = Backlog(workers, mean_service_ms=10)
    waiting: dict[int, float] = {}
    running: dict[int, tuple[float, float]] = {}
    now_s = 5.0
    for call, (event, expected_ms, passed_s) in enumerate(happenings):
        now_s += passed_s
        if event == "add":
            backlog.added(call, expected_ms)
            waiting[call] = expected_ms
        elif event == "start" and waiting and len(running) < workers:
            first = next(iter(waiting))
            backlog.started(first, now_s)
            running[first] = (waiting.pop(first), now_s)
        elif event == "finish" and running:
            backlog.finished(running.popitem()[0], now_s)
        elif event == "drop" and (waiting or running):
            backlog.dropped((waiting or running).popitem()[0], now_s)
        left = sum(waiting.values())
        left += sum(max(0.0, ms - (now_s - since_s) * 1000) for ms, since_s in running.values())
        assert backlog.work_ms(now_s) == pytest.approx(left)
        assert 0 <= backlog.utilization(now_s) <= 1
        assert backlog.mean_service_ms >= 0
    for call in [*waiting, *running]:
        backlog.dropped(call, now_s)
    assert (backlog.work_ms(now_s), backlog.wait_ms(now_s)) == (0, 0)
