"""The books of a stream: what was offered, how it ended, how long answers took."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from edgedet_iot.answers import Classes, Detections
from edgedet_iot.errors import DeadlineMissed, IotFault, NotAnAnswer, Refused, Unreachable
from edgedet_iot.latency_sketch import LatencySketch

ALL = "all"
UNREACHABLE = "unreachable"
NO_ANSWER = "no answer"
NOT_AN_ANSWER = "not an answer"
NOT_SENT = "not sent in time"
NOT_READ = "not readable"


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Latencies of answered photos, from the intended send time to the answer."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class StreamReport:
    """How a stream went.

    `by_status` counts every offered photo once: by HTTP status, or as ``unreachable`` (no connection, or it broke),
    ``no answer`` (silence past the deadline), ``not an answer``, ``not sent in time`` (this machine was too slow) or
    ``not readable`` (the photo's file is gone, or cannot be opened).
    """

    seconds: float
    deadline_ms: float
    offered: int
    answered: int
    in_time: int
    """Answered within the deadline, counted from the intended send time."""
    by_status: dict[str, int]
    refusals: dict[str, str]
    """What an edge said to the first photo of each status that it refused."""
    by_edge: dict[str, int]
    """Answered photos by edge."""
    by_placement: dict[str, LatencyRow]
    """``edge``, ``split``, ``cloud`` where there were any, and ``all``."""

    @property
    def offered_per_s(self) -> float:
        """Photos offered a second."""
        return self.offered / self.seconds if self.seconds else 0.0

    @property
    def in_time_per_s(self) -> float:
        """Goodput: photos answered in time a second."""
        return self.in_time / self.seconds if self.seconds else 0.0

    @property
    def lost(self) -> int:
        """Photos that were sent and got neither an answer nor a refusal."""
        return sum(self.by_status.get(outcome, 0) for outcome in (UNREACHABLE, NO_ANSWER, NOT_AN_ANSWER))

    def to_json(self) -> dict[str, Any]:
        """Plain values, rates and losses among them."""
        rates = {"offered_per_s": self.offered_per_s, "in_time_per_s": self.in_time_per_s, "lost": self.lost}
        return {**asdict(self), **rates}


class Tally:
    """Counts while a stream runs; every photo is told once, by `answered`, `failed` or `unreadable`."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_ms = deadline_s * 1000
        self.offered = 0
        self.in_time = 0
        self.by_status: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self.by_edge: Counter[str] = Counter()
        self.latencies: dict[str, LatencySketch] = {}

    def answered(self, answer: Detections | Classes, latency_ms: float) -> None:
        """An answer came."""
        self.by_status["200"] += 1
        self.by_edge[answer.edge] += 1
        self.in_time += latency_ms <= self._deadline_ms
        for name in (answer.route.placement, ALL):
            self.latencies.setdefault(name, LatencySketch()).add(latency_ms)

    def failed(self, fault: IotFault) -> None:
        """No answer came."""
        outcome = outcome_of(fault)
        self.by_status[outcome] += 1
        if isinstance(fault, Refused):
            self.refusals.setdefault(outcome, str(fault))

    def unreadable(self) -> None:
        """There was nothing to send."""
        self.by_status[NOT_READ] += 1

    def report(self, seconds: float) -> StreamReport:
        """The books after `seconds`."""
        rows = {name: _row(self.latencies[name]) for name in ("edge", "split", "cloud", ALL) if name in self.latencies}
        return StreamReport(
            seconds=seconds,
            deadline_ms=self._deadline_ms,
            offered=self.offered,
            answered=self.by_status["200"],
            in_time=self.in_time,
            by_status={status: count for status, count in sorted(self.by_status.items()) if count},
            refusals=dict(sorted(self.refusals.items())),
            by_edge=dict(sorted(self.by_edge.items())),
            by_placement=rows,
        )


def outcome_of(fault: IotFault) -> str:
    """The name in `by_status` of a photo that was not answered."""
    match fault:
        case Refused():
            return str(fault.problem.status)
        case DeadlineMissed(answered=True):
            return "504"
        case DeadlineMissed(edge=""):
            return NOT_SENT
        case DeadlineMissed():
            return NO_ANSWER
        case Unreachable():
            return UNREACHABLE
        case NotAnAnswer():
            return NOT_AN_ANSWER
        case _:
            raise AssertionError(f"unknown fault {fault!r}")


def _row(sketch: LatencySketch) -> LatencyRow:
    return LatencyRow(sketch.count, *(sketch.quantile_ms(q) for q in (0.50, 0.95, 0.99)))
