"""Baseline: the soonest predicted finish, asked again at every boundary."""

from random import Random

from edgedet_edge.placement.plans import handover_plans, local_plan, soonest
from edgedet_edge.placement.state import Decision, Job, NodeState, Reason


class Greedy:
    """Selfish: what a plan does to others does not count."""

    name = "greedy"

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:
        """The plan of least predicted latency, queues included."""
        handovers = handover_plans(job, state, rng)
        best = soonest(local_plan(job, state), handovers, lambda plan: plan.latency_ms)
        return best.decision(Reason.CHEAPER if handovers else Reason.NO_CLOUD)
