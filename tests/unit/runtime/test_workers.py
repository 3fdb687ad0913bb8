"""Worker threads: order, removal, and survival."""

import logging
import os
import queue
import threading
from collections.abc import Iterator

import pytest
from edgedet_runtime.workers import WorkerPool

LONGEST_S = 10


class Recorder:
    """Runs jobs named by strings; `hold` keeps a worker busy until `release`."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.release = threading.Event()
        self.holding = threading.Semaphore(0)

    def __call__(self, job: str) -> None:
        if job.startswith("hold"):
            self.holding.release()
            assert self.release.wait(LONGEST_S)
        if job == "fail":
            raise ValueError("a fault of a job")
        self.done.put(job)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def pool(recorder: Recorder) -> Iterator[WorkerPool[str]]:
    pool = WorkerPool(1, recorder)
    pool.start()
    yield pool
    recorder.release.set()
    pool.stop()


def test_jobs_run_first_come_first_served_and_put_first_goes_before(pool: WorkerPool[str], recorder: Recorder):
    pool.put("hold")
    assert recorder.holding.acquire(timeout=LONGEST_S)
    for job in ("a", "b"):
        pool.put(job)
    pool.put_first("home")
    recorder.release.set()
    assert [recorder.done.get(timeout=LONGEST_S) for _ in range(4)] == ["hold", "home", "a", "b"]


def test_a_waiting_job_can_be_taken_out_and_a_running_one_not(pool: WorkerPool[str], recorder: Recorder):
    pool.put("hold")
    assert recorder.holding.acquire(timeout=LONGEST_S)
    pool.put("a")
    pool.put("b")
    assert pool.remove("a")
    assert not pool.remove("a")
    assert not pool.remove("hold")
    recorder.release.set()
    assert [recorder.done.get(timeout=LONGEST_S) for _ in range(2)] == ["hold", "b"]


def test_a_worker_outlives_a_job_that_fails_and_the_log_tells(
    pool: WorkerPool[str], recorder: Recorder, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        pool.put("fail")
        pool.put("after")
        assert recorder.done.get(timeout=LONGEST_S) == "after"
    assert "a fault of a job" in caplog.text


def test_stopping_lets_the_running_job_end_and_drops_the_waiting_ones(recorder: Recorder):
    pool = WorkerPool(2, recorder)
    pool.start()
    for job in ("hold 1", "hold 2", "never"):
        pool.put(job)
    for _ in range(2):
        assert recorder.holding.acquire(timeout=LONGEST_S)
    stopping = threading.Thread(target=pool.stop)
    stopping.start()
    recorder.release.set()
    stopping.join(LONGEST_S)
    assert not stopping.is_alive()
    assert sorted(recorder.done.get_nowait() for _ in range(2)) == ["hold 1", "hold 2"]
    assert recorder.done.empty()


def test_workers_give_way_to_the_event_loop():
    nice: queue.SimpleQueue[int] = queue.SimpleQueue()
    pool = WorkerPool(1, lambda _: nice.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    pool.start()
    pool.put("job")
    assert nice.get(timeout=LONGEST_S) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    pool.stop()
