"""What the node measured over the last minute, and its Prometheus families.

Six buckets of ten seconds, each with a DDSketch per placement (Masson, Rim & Lee 2019; relative error 1 %) and plain
counts; a query merges the buckets of its window, and a cluster's answer merges those of all nodes. None is divided, so
an answer tells the seconds that its figures cover.
"""

import base64
import math
import time
from collections import Counter as Counts
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ddsketch import DDSketch
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage
from ddsketch.pb.proto import DDSketchProto
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

BUCKET_S = 10
WINDOW_S = 60
PLACEMENTS = ("edge", "split", "cloud")
STAGES = ("decode", "queue", "head", "encode", "transfer", "cloud_queue", "tail", "postprocess")
_RELATIVE_ERROR = 0.01
_COUNT_AT_ONCE = 32
_LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5)


@dataclass(slots=True)
class Timing:
    """Milliseconds of each stage of one request; stages that did not run stay 0."""

    decode: float = 0.0
    queue: float = 0.0
    head: float = 0.0
    encode: float = 0.0
    transfer: float = 0.0
    cloud_queue: float = 0.0
    tail: float = 0.0
    postprocess: float = 0.0
    total: float = 0.0


@dataclass(slots=True)
class Bucket:
    """Ten seconds of answers."""

    started_s: float
    sketches: dict[str, DDSketch] = field(default_factory=dict)
    stage_sums_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    by_boundary: Counts[str] = field(default_factory=Counts)
    by_reason: Counts[str] = field(default_factory=Counts)
    bytes_sent: int = 0
    cloud_failures: int = 0
    local_tails: int = 0

    def add(self, placement: str, boundary: int, reason: str, timing: Timing) -> None:
        """Count one answer."""
        if placement not in self.sketches:
            self.sketches[placement] = DDSketch(_RELATIVE_ERROR)
            self.stage_sums_ms[placement] = dict.fromkeys(STAGES, 0.0)
        self.sketches[placement].add(timing.total)
        sums = self.stage_sums_ms[placement]
        for stage in STAGES:
            sums[stage] += getattr(timing, stage)
        self.by_boundary[str(boundary)] += 1
        self.by_reason[reason] += 1

    def to_json(self) -> dict[str, Any]:
        """For the registry; the start is told as an age, since clocks of nodes differ."""
        sketches = {
            placement: base64.b64encode(DDSketchProto.to_proto(sketch).SerializeToString()).decode()
            for placement, sketch in self.sketches.items()
        }
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("started_s", "sketches")}
        return {**plain, "sketches": sketches, "age_s": time.monotonic() - self.started_s}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: of a version with other placements, stages or sketches; it could not be merged.
        """
        sketches = {}
        for placement, encoded in content["sketches"].items():
            message = SketchMessage()
            message.ParseFromString(base64.b64decode(encoded))
            sketches[placement] = DDSketchProto.from_proto(message)
            DDSketch(_RELATIVE_ERROR).merge(sketches[placement])  # refuses another relative error
        sums_ms = content["stage_sums_ms"]
        if not sums_ms.keys() == sketches.keys() <= set(PLACEMENTS):
            raise ValueError(f"a bucket of the placements {[*sketches]}, here are {PLACEMENTS}")
        if any(sums.keys() != set(STAGES) for sums in sums_ms.values()):
            raise ValueError(f"a bucket of other stages than {STAGES}")
        return cls(
            started_s=time.monotonic() - content["age_s"],
            sketches=sketches,
            stage_sums_ms=sums_ms,
            by_boundary=Counts(content["by_boundary"]),
            by_reason=Counts(content["by_reason"]),
            bytes_sent=content["bytes_sent"],
            cloud_failures=content["cloud_failures"],
            local_tails=content["local_tails"],
        )


class Measurements:
    """The node's buckets and Prometheus families; used from the event loop's thread alone."""

    def __init__(self) -> None:
        self._buckets: list[Bucket] = []
        self._uncounted: list[tuple[str, int, str, Timing]] = []
        self._uncounted_bytes = 0
        self._begun_s = time.monotonic()
        self.prometheus = CollectorRegistry()
        latency = Histogram(
            "edgedet_request_seconds",
            "Answered requests",
            ("placement",),
            buckets=_LATENCY_BUCKETS_S,
            registry=self.prometheus,
        )
        sent = Counter("edgedet_sent_bytes", "Tensor bytes sent to clouds, but for probes", registry=self.prometheus)
        refused = Counter("edgedet_refused", "Requests not answered", ("status",), registry=self.prometheus)
        failures = Counter("edgedet_cloud_failures", "Handovers that failed", registry=self.prometheus)
        tails = Counter("edgedet_local_tails", "Tails run at home after a handover", registry=self.prometheus)
        # Children are looked up once: a lookup costs more than the increment.
        self._latency = {placement: latency.labels(placement) for placement in PLACEMENTS}
        self._sent, self._refused, self._failures, self._tails = sent, refused, failures, tails

    def answered(self, placement: str, boundary: int, reason: str, timing: Timing) -> None:
        """Count an answer; `timing.total` is set."""
        self._make_room()
        self._uncounted.append((placement, boundary, reason, timing))

    def sent(self, nbytes: int) -> None:
        """Count what leaves for a cloud, whatever becomes of it."""
        self._make_room()
        self._uncounted_bytes += nbytes

    def refused(self, status: int) -> None:
        """Count a request that ended in a problem."""
        self._refused.labels(str(status)).inc()

    def cloud_failed(self) -> None:
        """Count a handover that was refused, broke, or ended at its deadline."""
        self._current().cloud_failures += 1
        self._failures.inc()

    def local_tail(self) -> None:
        """Count a tail taken home after its handover."""
        self._current().local_tails += 1
        self._tails.inc()

    def seconds(self, covered_s: float) -> float:
        """Of the last `covered_s` seconds those in which the node was there to count."""
        return min(covered_s, time.monotonic() - self._begun_s)

    def buckets(self) -> Sequence[Bucket]:
        """The buckets of the last minute."""
        self._current()
        return self._buckets

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        self._current()
        return generate_latest(self.prometheus)

    def _make_room(self) -> None:
        """Many are counted at once: right after an inference the caches are cold, and one alone costs five times more.

        After it, what is added belongs to the last bucket.
        """
        bucket = self._buckets[-1] if self._buckets else None
        if bucket is None or bucket.started_s + BUCKET_S <= time.monotonic() or len(self._uncounted) >= _COUNT_AT_ONCE:
            self._current()

    def _current(self) -> Bucket:
        """The bucket of now; what came before it is counted in its own."""
        for placement, boundary, reason, timing in self._uncounted:
            self._buckets[-1].add(placement, boundary, reason, timing)
            self._latency[placement].observe(timing.total / 1000)
        self._uncounted.clear()
        if self._uncounted_bytes:
            self._buckets[-1].bytes_sent += self._uncounted_bytes
            self._sent.inc(self._uncounted_bytes)
            self._uncounted_bytes = 0
        now = time.monotonic()
        start = _bucket_start_s(now)
        if not self._buckets or self._buckets[-1].started_s < start:
            self._buckets.append(Bucket(start))
            self._buckets = [b for b in self._buckets if b.started_s > now - WINDOW_S - BUCKET_S]
        return self._buckets[-1]


def seconds_covered(window_s: int) -> float:
    """From the start of the bucket in which the window begins until now."""
    now_s = time.monotonic()
    return now_s - _bucket_start_s(now_s - window_s)


def seconds_counted(buckets: Iterable[Bucket], covered_s: float) -> float:
    """Of the last `covered_s` seconds those since the first of these buckets began; 0 without one."""
    now_s = time.monotonic()
    return min(covered_s, now_s - min((bucket.started_s for bucket in buckets), default=now_s))


def latency_report(buckets: Iterable[Bucket], covered_s: float) -> dict[str, Any]:
    """The `placements` of `/v1/metrics/latency` over the last `covered_s` seconds."""
    recent = _recent(buckets, covered_s)
    sketches: dict[str, DDSketch] = {name: DDSketch(_RELATIVE_ERROR) for name in (*PLACEMENTS, "all")}
    sums = {name: dict.fromkeys(STAGES, 0.0) for name in (*PLACEMENTS, "all")}
    for bucket in recent:
        for placement, sketch in bucket.sketches.items():
            for name in (placement, "all"):
                sketches[name].merge(sketch)
                for stage, value in bucket.stage_sums_ms[placement].items():
                    sums[name][stage] += value
    return {name: _placement_latency(sketches[name], sums[name]) for name in sketches}


def offload_report(buckets: Iterable[Bucket], covered_s: float) -> dict[str, Any]:
    """The counts of `/v1/metrics/offload` over the last `covered_s` seconds."""
    recent = _recent(buckets, covered_s)
    by_placement: Counts[str] = Counts()
    by_boundary: Counts[str] = Counts()
    by_reason: Counts[str] = Counts()
    for bucket in recent:
        by_placement.update({name: int(sketch.count) for name, sketch in bucket.sketches.items()})
        by_boundary.update(bucket.by_boundary)
        by_reason.update(bucket.by_reason)
    requests = by_placement.total()
    offloaded = requests - by_placement["edge"]
    return {
        "requests": requests,
        "offloaded": offloaded,
        "ratio": offloaded / requests if requests else 0.0,
        "by_boundary": dict(sorted(by_boundary.items(), key=lambda item: int(item[0]))),
        "by_reason": dict(by_reason),
        "bytes_sent": sum(bucket.bytes_sent for bucket in recent),
        "cloud_failures": sum(bucket.cloud_failures for bucket in recent),
        "local_tails": sum(bucket.local_tails for bucket in recent),
    }


def _bucket_start_s(time_s: float) -> float:
    return time_s - time_s % BUCKET_S


def _recent(buckets: Iterable[Bucket], covered_s: float) -> list[Bucket]:
    """Buckets that lie in these seconds for the larger part; those of this node do so wholly or not at all."""
    oldest_s = time.monotonic() - covered_s - BUCKET_S / 2
    return [bucket for bucket in buckets if bucket.started_s > oldest_s]


def _quantile(sketch: DDSketch, q: float) -> float | None:
    """The nearest rank's value: the smallest that a share `q` of all do not exceed, so p99 of two is the larger one.
    None of no values.

    The sketch has the value of rank ⌊share·(n - 1)⌋, counted from 0; half a rank keeps rounding off the one before.
    """
    count = int(sketch.count)
    rank = max(1, math.ceil(q * count))
    share = min(1.0, (rank - 0.5) / (count - 1)) if count > 1 else 0.0
    return sketch.get_quantile_value(share)


def _placement_latency(sketch: DDSketch, sums_ms: dict[str, float]) -> dict[str, Any]:
    count = int(sketch.count)
    quantiles = {name: _quantile(sketch, q) for name, q in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))}
    means = {stage: value / count if count else 0.0 for stage, value in sums_ms.items()}
    return {"count": count, **quantiles, "stages_ms": means}
