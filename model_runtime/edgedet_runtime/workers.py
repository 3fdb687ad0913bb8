"""Worker threads: they share one set of prepared segments and take jobs from one queue, which admission bounds."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

# The event loop answers health and refusals on the same cores; a nicer worker gives way to it within microseconds
# instead of at the end of the kernel's time slice.
_NICE = 10

log = logging.getLogger(__name__)
Work = TypeVar("Work")


class WorkerPool(Generic[Work]):
    """K threads that call `run(job)` for each job, first come first served.

    `run` sees to its own errors; one that escapes is logged and the worker goes on.
    """

    def __init__(self, threads: int, run: Callable[[Work], None]) -> None:
        self._run = run
        self._jobs: deque[Work] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{index}", daemon=True) for index in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let running jobs end and the threads with them; jobs that still wait are not run."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def put(self, job: Work) -> None:
        """Queue a job at the end."""
        with self._ready:
            self._jobs.append(job)
            self._ready.notify()

    def put_first(self, job: Work) -> None:
        """Queue a job before all others: a tail that comes home has waited already."""
        with self._ready:
            self._jobs.appendleft(job)
            self._ready.notify()

    def remove(self, job: Work) -> bool:
        """Take a job out that nobody wants any more; False if a worker has taken it already."""
        with self._ready:
            # Asked first: deque.remove would write the whole job, tensors and all, into its error's text.
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    def _work(self) -> None:
        give_way()
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if self._stopping:
                    return
                job = self._jobs.popleft()
            try:
                self._run(job)
            except Exception:
                log.exception("a job failed")


def give_way() -> None:
    """Make the calling thread nicer than the event loop."""
    thread = threading.get_native_id()
    # Relative to what the process was started with: a lower value than that would need rights.
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
