"""The world around a simulated node: time, photos, and clouds that serve, refuse, crash or fall silent.

Times are seconds unless a name says milliseconds.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from edgedet_edge.placement import CloudReport
from edgedet_edge.placement.estimators import Level, ServiceTime


@dataclass(slots=True)
class Clock:
    """The queue of things to come."""

    now_s: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: "itertools.count[int]" = field(default_factory=itertools.count)

    def at(self, when_s: float, event: Callable[[], None]) -> None:
        """Let `event` happen then."""
        heapq.heappush(self._events, (when_s, next(self._number), event))

    def after(self, delay_ms: float, event: Callable[[], None]) -> None:
        """Let `event` happen so much later."""
        self.at(self.now_s + delay_ms / 1000.0, event)

    def run(self) -> None:
        """Until nothing is left."""
        while self._events:
            self.now_s, _, event = heapq.heappop(self._events)
            event()


@dataclass(eq=False, slots=True)
class SimJob:
    """A photo; a hedge's copy shares its `answers`."""

    arrived_s: float
    deadline_s: float
    answers: list[tuple[float, str]]
    """(time, outcome): one entry in the end, or a request was lost or answered twice."""
    boundary: int = 0
    excluded: frozenset[str] = frozenset()


@dataclass(eq=False, slots=True)
class Call:
    """A tail under way; `shadow` calls are probes, whose answer nobody waits for."""

    job: SimJob
    boundary: int
    deadline_s: float
    predicted_ms: float
    shadow: bool
    queued_s: float
    ended: bool = False
    late: bool = False


@dataclass(slots=True)
class SimCloud:
    """A cloud and the way to it."""

    address: str
    bandwidth_bytes_ms: float
    rtt_ms: float
    workers: int = 2
    speed: float = 1.0
    """Against the profile's `tail_ms`."""
    down: Callable[[float], str] = lambda _: ""
    """At a time: "" (healthy), "crashed" (connections break) or "silent" (takes all, says nothing)."""
    queue: deque[tuple[Call, float, Callable[[str], None]]] = field(default_factory=deque)
    busy_until_s: list[float] = field(default_factory=list)
    _load: Level = field(default_factory=Level)
    _service: ServiceTime = field(default_factory=lambda: ServiceTime(0.0))

    def arrive(self, call: Call, tail_ms: float, clock: Clock, reply: Callable[[str], None]) -> None:
        """A call is here; `reply` is called when its outcome leaves."""
        state = self.down(clock.now_s)
        if state == "crashed":
            reply("broken")
        elif state != "silent":
            late_s = clock.now_s + (self.backlog_ms(clock.now_s) + tail_ms + self.rtt_ms / 2) / 1000.0
            if late_s > call.deadline_s:
                reply("refused")
            else:
                self.queue.append((call, tail_ms, reply))
                self._start(clock)

    def backlog_ms(self, now_s: float) -> float:
        """Wait of a new call."""
        waiting_ms = sum(tail_ms for _, tail_ms, _ in self.queue)
        running_ms = sum(max(0.0, until_s - now_s) * 1000.0 for until_s in self.busy_until_s)
        free = len(self.busy_until_s) + len(self.queue) < self.workers
        return 0.0 if free else (waiting_ms + running_ms) / self.workers

    def report(self, now_s: float) -> CloudReport:
        """As of now."""
        return CloudReport(self.backlog_ms(now_s), self._load.at(now_s), self._service.mean_ms, self.workers)

    def _start(self, clock: Clock) -> None:
        while self.queue and len(self.busy_until_s) < self.workers:
            call, tail_ms, reply = self.queue.popleft()
            if clock.now_s > call.deadline_s:
                reply("refused")
                continue
            until_s = clock.now_s + tail_ms / 1000.0
            self.busy_until_s.append(until_s)
            self._load.set(len(self.busy_until_s) / self.workers, clock.now_s)
            clock.at(until_s, lambda u=until_s, t=tail_ms, r=reply: self._end(u, t, r, clock))  # type: ignore[misc]

    def _end(self, until_s: float, tail_ms: float, reply: Callable[[str], None], clock: Clock) -> None:
        self.busy_until_s.remove(until_s)
        self._load.set(len(self.busy_until_s) / self.workers, clock.now_s)
        self._service.mean_ms = self._service.mean_ms or tail_ms
        self._service.observe(tail_ms)
        if not self.down(clock.now_s):
            reply("done")
        self._start(clock)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a photo: "local", "remote", "refused" (429) or "missed" (504)."""

    arrived_s: float
    ended_s: float
    how: str

    @property
    def good(self) -> bool:
        """Answered; answers after the deadline do not exist."""
        return self.how in ("local", "remote")


def poisson(rate: float, start_s: float, end_s: float, seed: int) -> list[float]:
    """Times of arrival at `rate` a second."""
    rng = Random(seed)
    times, now_s = [], start_s + rng.expovariate(rate)
    while now_s < end_s:
        times.append(now_s)
        now_s += rng.expovariate(rate)
    return times


def goodput(outcomes: Sequence[Outcome], start_s: float, end_s: float) -> float:
    """Answers a second to photos that came in that time."""
    return sum(outcome.good for outcome in outcomes if start_s <= outcome.arrived_s < end_s) / (end_s - start_s)
