"""The plans open to a request and their predicted latencies; every policy chooses among these.

A plan's latency is  w0 + r + w + t + RTT + W + tail:  w0 the wait for a worker, r edge work before the handover
(packing included), w what is left of the link's queue by then, t the wire time, W the cloud's queue.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from edgedet_edge.placement.state import CloudState, Decision, HandOver, Job, Local, NodeState, Reason

_CANDIDATE_CLOUDS = 2
"""Two random choices spread load nearly as well as all of them, and do not herd (Mitzenmacher 2001)."""
_FRESH_MS = 1000.0
"""How long a cloud's own word on its backlog counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Hand over to `cloud` at `boundary`, or stay (`cloud` None, `boundary` N); milliseconds."""

    cloud: CloudState | None
    boundary: int
    edge_ms: float
    """r, or R when staying."""
    wire_ms: float
    cloud_wait_ms: float
    tail_ms: float
    latency_ms: float
    unloaded_ms: float
    """The latency if nobody else were there."""

    def decision(self, reason: Reason, cost_ms: float | None = None) -> Decision:
        """This plan as a policy's word; without a cost of its own the latency is the cost."""
        where = Local() if self.cloud is None else HandOver(self.cloud.address, self.boundary)
        cost_ms = self.latency_ms if cost_ms is None else cost_ms
        return Decision(where, self.latency_ms, cost_ms, self.edge_ms, reason)


def local_plan(job: Job, state: NodeState) -> Plan:
    """Finish at home."""
    profile = job.profile
    work_ms = profile.head_ms[-1] - profile.head_ms[job.boundary]
    wait_ms = state.edge.wait_ms if job.queued else 0.0
    return Plan(None, profile.last, work_ms, 0.0, 0.0, 0.0, wait_ms + work_ms, work_ms)


def handover_plans(job: Job, state: NodeState, rng: Random) -> list[Plan]:
    """Every allowed boundary still ahead, for at most two random usable clouds."""
    clouds = usable_clouds(job, state)
    if len(clouds) > _CANDIDATE_CLOUDS:
        clouds = rng.sample(clouds, _CANDIDATE_CLOUDS)
    return plans_for(job, state, clouds)


def usable_clouds(job: Job, state: NodeState) -> list[CloudState]:
    """Clouds that may get this request: breaker closed, same package, link measured, not excluded."""
    return [cloud for cloud in state.clouds if cloud.usable and cloud.address not in job.excluded]


def plans_for(job: Job, state: NodeState, clouds: Iterable[CloudState]) -> list[Plan]:
    """Every allowed boundary still ahead, for these clouds."""
    wait_ms = state.edge.wait_ms if job.queued else 0.0
    return [
        _handover(job, cloud, boundary, bandwidth, rtt_ms, wait_ms)
        for cloud in clouds
        if (rtt_ms := cloud.link.rtt_ms) is not None and (bandwidth := cloud.link.bandwidth_bytes_ms)
        for boundary in job.profile.allowed
        if boundary >= job.boundary
    ]


def soonest(local: Plan, handovers: Iterable[Plan], key: Callable[[Plan], float]) -> Plan:
    """The least plan by `key`; staying wins a tie."""
    return min([local, *handovers], key=key)


def _handover(job: Job, cloud: CloudState, boundary: int, bandwidth: float, rtt_ms: float, edge_wait_ms: float) -> Plan:
    profile, link = job.profile, cloud.link
    edge_ms = profile.head_ms[boundary] - profile.head_ms[job.boundary] + profile.encode_ms[boundary]
    wire_ms = profile.wire_bytes[boundary] / bandwidth
    in_transfer_ms = max(0.0, link.transfer_bytes / bandwidth - link.transfer_elapsed_ms)
    link_wait_ms = max(0.0, link.queued_bytes / bandwidth + in_transfer_ms - edge_ms)
    transit_ms = link_wait_ms + wire_ms + rtt_ms / 2
    # What the cloud told is held; what went there since then is worked off while this request travels.
    told_ms = cloud.backlog_ms if cloud.reply_age_ms < _FRESH_MS else 0.0
    cloud_wait_ms = told_ms + max(0.0, cloud.own_ms / max(cloud.workers, 1) - transit_ms)
    tail_ms = cloud.expected_tail_ms(profile, boundary)
    unloaded_ms = edge_ms + wire_ms + rtt_ms + tail_ms
    # Tensors (or a photo) that are there already leave without a worker.
    worker_wait_ms = edge_wait_ms if boundary > job.boundary else 0.0
    latency_ms = unloaded_ms + worker_wait_ms + link_wait_ms + cloud_wait_ms
    return Plan(cloud, boundary, edge_ms, wire_ms, cloud_wait_ms, tail_ms, latency_ms, unloaded_ms)
