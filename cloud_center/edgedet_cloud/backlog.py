"""How much work waits: pure accounting with the clock passed in; admission and the load told in replies rest on it."""

import math
from dataclasses import dataclass, field

_TAU_S = 1.0
_SERVICE_WEIGHT = 0.05
_MOST = 100.0
"""Times the average that one call counts at most: it may be the machine that stood still in its middle. As much as a
large model among a hundred small ones takes has to count."""


@dataclass(slots=True)
class Backlog:
    """Work waiting and running, in milliseconds of one worker."""

    workers: int
    mean_service_ms: float
    _waiting: dict[int, float] = field(default_factory=dict)
    _running: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Call → (expected ms, start in s)."""
    _utilization: float = 0.0
    _updated_s: float = 0.0

    def added(self, call: int, expected_ms: float) -> None:
        """A call waits."""
        self._waiting[call] = expected_ms

    def started(self, call: int, now_s: float) -> None:
        """A worker took the call."""
        self._settle(now_s)
        self._running[call] = (self._waiting.pop(call), now_s)

    def finished(self, call: int, now_s: float) -> None:
        """The call's work is done."""
        self._settle(now_s)
        _, since_s = self._running.pop(call)
        work_ms = min((now_s - since_s) * 1000.0, _MOST * self.mean_service_ms)
        self.mean_service_ms += _SERVICE_WEIGHT * (work_ms - self.mean_service_ms)

    def dropped(self, call: int, now_s: float) -> None:
        """The call's work is not done to its end; how long it took tells nothing."""
        self._settle(now_s)
        self._waiting.pop(call, None)
        self._running.pop(call, None)

    def work_ms(self, now_s: float) -> float:
        """Waiting and remaining running work, summed; work that overruns its estimate counts nothing more."""
        running = sum(max(0.0, ms - (now_s - since_s) * 1000.0) for ms, since_s in self._running.values())
        return sum(self._waiting.values(), 0.0) + running

    def wait_ms(self, now_s: float) -> float:
        """A new call's wait for a worker."""
        if len(self._running) < self.workers and not self._waiting:
            return 0.0
        return self.work_ms(now_s) / self.workers

    def utilization(self, now_s: float) -> float:
        """Share of busy workers, smoothed over a second."""
        self._settle(now_s)
        return self._utilization

    def _settle(self, now_s: float) -> None:
        keep = math.exp(-max(0.0, now_s - self._updated_s) / _TAU_S)
        busy = min(1.0, len(self._running) / self.workers)
        self._utilization = busy + (self._utilization - busy) * keep
        self._updated_s = now_s
