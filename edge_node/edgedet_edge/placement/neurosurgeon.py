"""Baseline: the best split for a request that is alone (Kang et al., *Neurosurgeon*, ASPLOS 2017)."""

from random import Random

from edgedet_edge.placement.plans import handover_plans, local_plan, soonest
from edgedet_edge.placement.state import Decision, Job, NodeState, Reason


class Neurosurgeon:
    """Head, current link and tail count; queues do not.

    The paper decides once per request. Asked again at a later boundary this gives the same plan unless the link
    changed, since work already done is a constant to all plans.
    """

    name = "neurosurgeon"

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:
        """The plan of least unloaded latency; the latency told is the one to expect now, queues included."""
        handovers = handover_plans(job, state, rng)
        best = soonest(local_plan(job, state), handovers, lambda plan: plan.unloaded_ms)
        return best.decision(Reason.CHEAPER if handovers else Reason.NO_CLOUD)
