"""The edge's own load, followed event by event; not thread-safe: one thread tells it all."""

from dataclasses import dataclass, field

from edgedet_edge.placement.estimators import Level, Rate, ServiceTime
from edgedet_edge.placement.state import EdgeState


@dataclass(slots=True)
class _Run:
    started_s: float
    edge_ms: float
    decided_s: float
    dropped: bool = True
    """Until it is decided on: a request that gets no work says nothing about service times."""


@dataclass(slots=True)
class EdgeTracker:
    """Counts workers, queue and work; `state` is what a policy sees."""

    workers: int
    service: ServiceTime
    """Starts with the profile's whole inference."""
    _waiting: int = 0
    _running: dict[object, _Run] = field(default_factory=dict)
    _busy: Level = field(default_factory=Level)
    _arrivals: Rate = field(default_factory=Rate)

    def admitted(self, now_s: float) -> None:
        """A request was let in (also one that leaves at boundary 0)."""
        self._arrivals.event(now_s)

    def queued(self) -> None:
        """A request waits for a worker: admitted, or back from a handover that failed."""
        self._waiting += 1

    def unqueued(self) -> None:
        """A waiting request was dropped; not to be called for one that starts."""
        self._waiting -= 1

    def started(self, job: object, now_s: float) -> None:
        """A worker took the request out of the queue; `decided` follows at once, or `ended` if it is dropped."""
        self._waiting -= 1
        self._running[job] = _Run(now_s, self.service.mean_ms, now_s)
        self._busy.set(len(self._running) / self.workers, now_s)

    def decided(self, job: object, edge_ms: float, now_s: float) -> None:
        """The running request's plan has `edge_ms` (`Decision.edge_ms`) to go here."""
        run = self._running[job]
        run.edge_ms, run.decided_s, run.dropped = edge_ms, now_s, False

    def ended(self, job: object, now_s: float, *, broken_off: bool = False) -> None:
        """Its worker is free: answered, handed over, dropped, or `broken_off` in the middle of its work."""
        run = self._running.pop(job)
        if not run.dropped and not broken_off:
            self.service.observe((now_s - run.started_s) * 1000.0)
        self._busy.set(len(self._running) / self.workers, now_s)

    def utilization(self, now_s: float) -> float:
        """Smoothed share of busy workers."""
        return self._busy.at(now_s)

    def state(self, now_s: float) -> EdgeState:
        """As of `now_s`."""
        residual_ms = tuple(max(0.0, run.edge_ms - (now_s - run.decided_s) * 1000.0) for run in self._running.values())
        return EdgeState(
            workers=self.workers,
            waiting=self._waiting,
            residual_ms=residual_ms,
            mean_service_ms=self.service.mean_ms,
            utilization=self.utilization(now_s),
            arrivals_per_ms=self._arrivals.per_ms(now_s),
        )
