"""Admission and placement on live state: node and clouds behind one lock, told by the event loop and the workers alike.

A decision takes some tens of microseconds, so a worker takes the lock and decides by itself; asking the event loop
would cost it two thread switches at every boundary.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from edgedet_proto.cloud_load import CloudLoad

from edgedet_edge.clouds import Clouds
from edgedet_edge.errors import Overloaded
from edgedet_edge.job import Job, ServedModel
from edgedet_edge.placement import (
    AdmissionControl,
    BreakerState,
    CloudReport,
    Decision,
    EdgeTracker,
    Hedging,
    NodeState,
    Refused,
    can_still_finish,
)
from edgedet_edge.placement import Job as Standing
from edgedet_edge.placement.estimators import ServiceTime
from edgedet_edge.tensors_codec import Codec, predicted_bytes

# A node without photos probes just often enough that its estimates stay trusted (10 s).
_IDLE_S, _IDLE_PROBE_S = 2.0, 8.0


class Scheduler:
    """The node's trackers; every method takes the lock."""

    def __init__(
        self, models: Sequence[ServedModel], clouds: Iterable[str], threads: int, *, forward_photos: bool
    ) -> None:
        self._lock = threading.Lock()
        self._rng = Random()  # of its own: it is to keep edges from doing things at the same moment
        typical_ms = [model.profile.total_ms for model in models]
        self._edge = EdgeTracker(threads, ServiceTime(sum(typical_ms) / len(typical_ms)))
        self._clouds = Clouds(clouds, models, forward_photos=forward_photos)
        self._admission = AdmissionControl()
        self._hedging = Hedging()
        self._admitted_s = float("-inf")
        self._probed_s: dict[str, float] = {}

    @property
    def has_clouds(self) -> bool:
        """Whether there is anything to decide."""
        return len(self._clouds) > 0

    # Requests

    def admit(self, job: Job) -> Decision:
        """Let a photo in, with a first plan.

        Raises:
            Overloaded: it would probably not be answered by its deadline.
        """
        now_s = time.monotonic()
        with self._lock:
            decision = self._decide(job, now_s, queued=True)
            deadline_ms = (job.deadline_s - job.accepted_s) * 1000.0
            idle = self._edge.state(now_s).idle
            verdict = self._admission.admit(decision.latency_ms, deadline_ms, self._rng, idle=idle)
            if isinstance(verdict, Refused):
                raise Overloaded(
                    f"the answer would take about {decision.latency_ms:.0f} ms, the deadline is {deadline_ms:.0f} ms, "
                    f"{self._admission.reserve(idle=idle):.0%} of it in reserve",
                    verdict.retry_after_s,
                )
            self._edge.admitted(now_s)
            self._admitted_s = now_s
        return decision

    def ended(self, *, missed: bool) -> None:
        """An admitted photo was answered, or not by its deadline."""
        with self._lock:
            self._admission.ended(missed=missed)

    def queued(self) -> None:
        """A job waits for a worker."""
        with self._lock:
            self._edge.queued()

    def unqueued(self) -> None:
        """A waiting job was taken out of the queue again."""
        with self._lock:
            self._edge.unqueued()

    def started(self, job: Job) -> bool:
        """A worker took the job; whether anything that can be done meets its deadline."""
        now_s = time.monotonic()
        with self._lock:
            self._edge.started(job, now_s)
            return not job.unwanted and can_still_finish(self._standing(job, now_s), self._state(job.model, now_s))

    def finished(self, job: Job, *, broken_off: bool) -> None:
        """The worker is free again; a job `broken_off` in the middle says nothing about service times."""
        with self._lock:
            self._edge.ended(job, time.monotonic(), broken_off=broken_off)

    def decide(self, job: Job) -> Decision:
        """Where a running job goes on."""
        now_s = time.monotonic()
        with self._lock:
            decision = self._decide(job, now_s, queued=False)
            self._edge.decided(job, decision.edge_ms, now_s)
        return decision

    def codec(self, address: str, model: ServedModel, boundary: int) -> Codec:
        """Raw or zstd, whichever should be there sooner over the cloud's link; a photo goes as it is."""
        if boundary == 0:
            return "raw"
        with self._lock:
            bandwidth = self._clouds[address].bandwidth.bytes_ms(time.monotonic())
        return predicted_bytes(model.profile.boundaries[boundary - 1], bandwidth)[0]

    # Handovers; a `call` is any object that stands for one

    def handed_over(self, call: object, address: str, model: ServedModel, boundary: int, nbytes: int) -> None:
        """A call waits for the wire."""
        with self._lock:
            self._clouds.queued(call, address, model, boundary, nbytes)
            self._hedging.handed_over()

    def sending(self, call: object, address: str, nbytes: int) -> float | None:
        """The call has the wire; how long it should need it, None where that is unknown."""
        now_s = time.monotonic()
        with self._lock:
            cloud = self._clouds[address]
            cloud.sending(call, now_s)
            bandwidth = cloud.bandwidth.bytes_ms(now_s)
            return nbytes / bandwidth if bandwidth else None

    def sent(self, call: object, address: str) -> None:
        """The wire is free for the next call."""
        with self._lock:
            self._clouds[address].sent(call, time.monotonic())

    def uploaded(self, call: object, address: str, nbytes: int, elapsed_ms: float) -> None:
        """Word that the cloud had all bytes came `elapsed_ms` after the first was sent."""
        with self._lock:
            self._clouds[address].uploaded(call, nbytes, elapsed_ms, time.monotonic())

    def round_trip(self, address: str, rtt_ms: float) -> None:
        """An empty call took `rtt_ms`."""
        now_s = time.monotonic()
        with self._lock:
            self._clouds[address].round_trip.observe(rtt_ms, now_s)

    def round_trip_due(self, address: str) -> bool:
        """Whether an empty call should measure it: probes do, but none goes to a cloud that answers photos."""
        now_s = time.monotonic()
        with self._lock:
            return self._clouds[address].round_trip_due(now_s)

    def replied(self, call: object, address: str, load: CloudLoad | None, *, late: bool = False) -> None:
        """An answer, or a refusal: the cloud is alive; a `late` one does not close its breaker."""
        now_s = time.monotonic()
        with self._lock:
            cloud = self._clouds[address]
            if load is None:
                cloud.gone(call, now_s)
                cloud.probes.heard(now_s)
            else:
                backlog_ms = load.backlog_ms / max(load.workers, 1)
                report = CloudReport(backlog_ms, load.utilization, load.mean_service_ms, load.workers)
                cloud.replied(call, report, now_s)
            if not late:
                cloud.breaker.succeeded()

    def answered(
        self, address: str, model: ServedModel, boundary: int, service_ms: float, predicted_ms: float, actual_ms: float
    ) -> None:
        """A handover brought its answer, after `actual_ms` in all."""
        with self._lock:
            self._clouds.measured(address, model, boundary, service_ms)
            self._hedging.answered(predicted_ms, actual_ms)

    def failed(self, call: object, address: str) -> None:
        """The connection broke, or the protocol was not kept."""
        now_s = time.monotonic()
        with self._lock:
            self._clouds[address].gone(call, now_s)
            self._clouds[address].breaker.failed(now_s, self._rng)

    def dropped(self, call: object, address: str) -> None:
        """The call ended without telling anything of the cloud."""
        with self._lock:
            self._clouds[address].gone(call, time.monotonic())

    def differs(self, address: str, model: ServedModel) -> bool:
        """The cloud has no such package, or another under its name; whether that is news."""
        with self._lock:
            return self._clouds.differs(address, model)

    def hedge_timer_ms(self, predicted_ms: float) -> float:
        """When a handover is overdue."""
        with self._lock:
            return self._hedging.timer_ms(predicted_ms)

    def came_late(self, call: object, address: str) -> bool:
        """A call is overdue; whether its cloud is to blame: not while the call waits for our own wire."""
        now_s = time.monotonic()
        with self._lock:
            cloud = self._clouds[address]
            if cloud.on_own_wire(call):
                return False
            cloud.overdue(call, now_s)
            cloud.breaker.came_late(now_s, self._rng)
            return True

    def may_hedge(self, call: object, address: str) -> bool:
        """Whether an overdue call's tail may start elsewhere now."""
        now_s = time.monotonic()
        with self._lock:
            cloud = self._clouds[address]
            is_open = cloud.breaker.state(now_s) is not BreakerState.CLOSED
            if cloud.on_own_wire(call) and not is_open:
                return False
            return self._hedging.take(self._edge.utilization(now_s), breaker_open=is_open)

    # Probes

    def probe_due(self, address: str, nbytes: int) -> bool:
        """Whether a probe of `nbytes` should go to the cloud; rarely while no photos come."""
        now_s = time.monotonic()
        with self._lock:
            cloud = self._clouds[address]
            idle = cloud.breaker.state(now_s) is BreakerState.CLOSED and now_s - self._admitted_s > _IDLE_S
            rested = now_s - self._probed_s.get(address, -_IDLE_PROBE_S) > _IDLE_PROBE_S
            return cloud.probe_due(now_s, nbytes) and (rested or not idle)

    def probe_started(self, address: str) -> None:
        """`probe_ended` has to follow."""
        now_s = time.monotonic()
        with self._lock:
            self._clouds[address].probes.asked(now_s)
            self._probed_s[address] = now_s

    def probe_sending(self, call: object, address: str, model: ServedModel, boundary: int, nbytes: int) -> None:
        """A probe is a call like any other."""
        with self._lock:
            self._clouds.queued(call, address, model, boundary, nbytes)
            self._clouds[address].sending(call, time.monotonic())

    def probe_ended(self, address: str) -> None:
        """Whatever became of it."""
        with self._lock:
            self._clouds[address].probes.ended()

    def to_probe(self, address: str, models: Iterable[ServedModel]) -> list[ServedModel]:
        """Models that the cloud was never asked about; of the others the one that was asked about longest ago."""
        with self._lock:
            return self._clouds.to_probe(address, models)

    def probed(self, address: str, model: ServedModel, boundary: int, service_ms: float) -> None:
        """A probe was answered."""
        with self._lock:
            self._clouds.measured(address, model, boundary, service_ms)

    # Views

    def describe_clouds(self) -> list[dict[str, object]]:
        """For `/v1/metrics/offload` and the registry; null is unknown."""
        now_s = time.monotonic()
        with self._lock:
            return self._clouds.describe(now_s)

    def describe_edge(self) -> dict[str, object]:
        """Workers, queue and load of this node."""
        now_s = time.monotonic()
        with self._lock:
            edge = self._edge.state(now_s)
        return {"workers": edge.workers, "waiting": edge.waiting, "utilization": round(edge.utilization, 3)}

    # Under the lock

    def _decide(self, job: Job, now_s: float, *, queued: bool) -> Decision:
        standing = self._standing(job, now_s, queued=queued)
        return job.policy.decide(standing, self._state(job.model, now_s), self._rng)

    def _standing(self, job: Job, now_s: float, *, queued: bool = False) -> Standing:
        profile = self._clouds.profile(job.model, now_s)
        if job.boundary == 0 and 0 in profile.allowed:  # the photo's own size is known; the profile's is a mean
            profile = replace(profile, wire_bytes=(float(len(job.data)), *profile.wire_bytes[1:]))
        return Standing(
            profile=profile,
            boundary=job.boundary,
            now_s=now_s,
            deadline_s=job.deadline_s,
            queued=queued,
            excluded=job.excluded,
        )

    def _state(self, model: ServedModel, now_s: float) -> NodeState:
        return NodeState(self._edge.state(now_s), self._clouds.states(model, now_s))
