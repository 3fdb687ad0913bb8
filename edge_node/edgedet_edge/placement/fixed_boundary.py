"""Baseline: every request leaves at the same boundary, when a cloud is usable."""

from random import Random

from edgedet_edge.placement.plans import handover_plans, local_plan
from edgedet_edge.placement.state import Decision, Job, NodeState, Reason


class FixedBoundary:
    """Hands over at boundary k, or at the first allowed one after it; k ≥ N stays."""

    def __init__(self, boundary: int, reason: Reason = Reason.FIXED_BOUNDARY) -> None:
        self.name = f"fixed-boundary={boundary}"
        self.boundary = boundary
        self.reason = reason
        """`Reason.FORCED` where the client chose."""

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:
        """Of the clouds the one that answers soonest."""
        wanted = max(self.boundary, job.boundary)
        leave_at = min((k for k in job.profile.allowed if k >= wanted), default=job.profile.last)
        if self.boundary >= job.profile.last or leave_at == job.profile.last:
            return local_plan(job, state).decision(self.reason)
        plans = [plan for plan in handover_plans(job, state, rng) if plan.boundary == leave_at]
        if not plans:
            return local_plan(job, state).decision(Reason.NO_CLOUD)
        kept = self.boundary == 0 and 0 not in job.profile.allowed
        best = min(plans, key=lambda plan: plan.latency_ms)
        return best.decision(Reason.PHOTOS_STAY if kept else self.reason)
