"""A cloud and the link to it, followed call by call; not thread-safe: one thread tells it all."""

from dataclasses import dataclass, field

from edgedet_edge.placement.breaker import Breaker, BreakerState
from edgedet_edge.placement.estimators import Bandwidth, Level, RoundTrip
from edgedet_edge.placement.probes import ProbeSchedule
from edgedet_edge.placement.state import CloudState, LinkState


@dataclass(frozen=True, slots=True)
class CloudReport:
    """A cloud's load as of its reply (not as of the request it answers)."""

    backlog_ms: float
    """Waiting and running work over workers."""
    utilization: float
    mean_service_ms: float
    workers: int


@dataclass(slots=True)
class _Call:
    nbytes: float
    tail_ms: float
    sending_s: float | None = None
    sent_s: float | None = None
    arrived: bool = False
    """Whether the cloud said that it has it all."""
    told: bool = False
    """Whether a report that came since covers it."""


@dataclass(slots=True)
class CloudTracker:
    """Breaker, probes, link estimates and outstanding calls of one cloud; `state` is what a policy sees.

    A call goes `queued` → `sending` → `sent` → `replied`, or `gone` at any time; probes are calls too.
    """

    address: str
    breaker: Breaker = field(default_factory=Breaker)
    probes: ProbeSchedule = field(default_factory=ProbeSchedule)
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    round_trip: RoundTrip = field(default_factory=RoundTrip)
    _report: CloudReport = field(default_factory=lambda: CloudReport(0.0, 0.0, 0.0, 1))
    _reported_s: float = float("-inf")
    _calls: dict[object, _Call] = field(default_factory=dict)
    _wire: Level = field(default_factory=Level)

    @property
    def outstanding(self) -> int:
        """Calls without an outcome."""
        return len(self._calls)

    def queued(self, call: object, nbytes: float, tail_ms: float) -> None:
        """A call waits for the wire."""
        self._calls[call] = _Call(nbytes, tail_ms)

    def sending(self, call: object, now_s: float) -> None:
        """The call has the wire."""
        self._calls[call].sending_s = now_s
        self._wire.set(1.0, now_s)

    def sent(self, call: object, now_s: float) -> None:
        """The wire is free again. A call that is `gone` or `replied` left it before: then this says nothing new."""
        known = self._calls.get(call)
        if known is not None:
            self._leave_wire(known, now_s)
            known.sent_s = now_s

    def uploaded(self, call: object, nbytes: float, elapsed_ms: float, now_s: float) -> None:
        """Word that the cloud had all of `nbytes` came `elapsed_ms` after the first was sent.

        The time on the wire is what the round trip leaves of it. Where it leaves nothing the round trip has become
        shorter than its estimate, and of the bandwidth only a lower bound is learned.
        """
        known = self._calls.get(call)
        if known is not None:
            known.arrived = True
        wire_ms = elapsed_ms - (self.round_trip.rtt_ms or 0.0)
        if wire_ms > 0.0:
            self.bandwidth.observe(nbytes, wire_ms, now_s)
            return
        self.round_trip.observe(elapsed_ms, now_s)
        if self.bandwidth.bytes_ms(now_s) is None:
            self.bandwidth.observe(nbytes, elapsed_ms, now_s)

    def overdue(self, call: object, now_s: float) -> None:
        """The answer should be there; where not even the upload is, the link is slower than its estimate.

        Else a link that became slow would be believed for many handovers: each new one would begin while those before
        it still travel. (A cloud that stands still looks the same; its next replies show that it was not the link.)
        """
        known = self._calls.get(call)
        if known is not None and known.sending_s is not None and not known.arrived:
            wire_ms = (now_s - known.sending_s) * 1000.0 - (self.round_trip.rtt_ms or 0.0)
            self.bandwidth.at_most(known.nbytes, wire_ms, now_s)

    def round_trip_due(self, now_s: float) -> bool:
        """Whether an empty call should measure the round trip: it is old, and nothing of ours would delay the call.

        The first measurement is a probe's.
        """
        if self.round_trip.rtt_ms is None or not self.round_trip.is_old(now_s):
            return False
        free = all(call.sent_s is not None for call in self._calls.values())
        return free and self.breaker.state(now_s) is BreakerState.CLOSED

    def on_own_wire(self, call: object) -> bool:
        """Whether the call has not left us yet: a hedge would not help, the cloud is not to blame."""
        known = self._calls.get(call)
        return known is not None and known.sent_s is None

    def replied(self, call: object, report: CloudReport, now_s: float) -> None:
        """An answer or a refusal; its report covers all that had reached the cloud when it was written."""
        self.gone(call, now_s)
        self._report, self._reported_s = report, now_s
        self.probes.heard(now_s)
        rtt_s = (self.round_trip.rtt_ms or 0.0) / 1000.0
        for other in self._calls.values():
            if other.sent_s is not None and other.sent_s + rtt_s <= now_s:
                other.told = True

    def gone(self, call: object, now_s: float) -> None:
        """The call failed, timed out or was cancelled."""
        known = self._calls.pop(call, None)
        if known is not None:
            self._leave_wire(known, now_s)

    def probe_due(self, now_s: float, nbytes: float) -> bool:
        """Whether a probe of `nbytes` should go there."""
        bandwidth = self.bandwidth.bytes_ms(now_s)
        wire_ms = nbytes / bandwidth if bandwidth else None
        return self.probes.due(now_s, self.breaker.state(now_s), self.outstanding, wire_ms)

    def state(self, now_s: float, *, same_package: bool = True, tail_ms: tuple[float | None, ...] = ()) -> CloudState:
        """As of `now_s`, for a model whose measured tails there are `tail_ms`."""
        return CloudState(
            address=self.address,
            link=self._link(now_s),
            same_package=same_package,
            breaker=self.breaker.state(now_s),
            workers=self._report.workers,
            backlog_ms=self._report.backlog_ms,
            reply_age_ms=(now_s - self._reported_s) * 1000.0,
            own_ms=sum(call.tail_ms for call in self._calls.values() if not call.told),
            utilization=self._report.utilization,
            mean_service_ms=self._report.mean_service_ms,
            tail_ms=tail_ms,
        )

    def _leave_wire(self, call: _Call, now_s: float) -> None:
        if call.sending_s is not None and call.sent_s is None:
            self._wire.set(0.0, now_s)

    def _link(self, now_s: float) -> LinkState:
        waiting = [call.nbytes for call in self._calls.values() if call.sending_s is None]
        transfer_bytes, elapsed_ms = 0.0, 0.0
        for call in self._calls.values():
            if call.sending_s is not None and call.sent_s is None:
                transfer_bytes, elapsed_ms = call.nbytes, (now_s - call.sending_s) * 1000.0
        return LinkState(
            rtt_ms=self.round_trip.rtt_ms,
            bandwidth_bytes_ms=self.bandwidth.bytes_ms(now_s),
            waiting=len(waiting),
            queued_bytes=sum(waiting),
            transfer_bytes=transfer_bytes,
            transfer_elapsed_ms=elapsed_ms,
            utilization=self._wire.at(now_s),
        )
