"""The default policy: own predicted finish plus the delay that a plan causes to others at every resource.

Work s put before n waiting requests delays each of them by s, and those that come while it is served as well; at
utilization ρ the delay echoes by g(ρ) = 1 / (1 - min(ρ, 0.9)). With λ the arrivals a millisecond and m the workers:

    edge   g(ρ)·(n·s + λ·s²/2) / m
    link   g(ρ)·(n + ρ/2)·t
    cloud  g(ρ)·(W + ρ·s/2)·s / c,  W the wait and c the mean service time there

An externality in the sense of Mendelson & Whang (1990), for M/G/1 queues and measured state instead of means.
"""

from random import Random

from edgedet_edge.placement.plans import Plan, handover_plans, local_plan
from edgedet_edge.placement.state import Decision, EdgeState, Job, NodeState, Reason

_HIGHEST_UTILIZATION = 0.9
"""Keeps prices finite; 0.8 to 0.95 work alike."""


class MarginalCost:
    """See the module."""

    name = "marginal-cost"

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:
        """The plan of least cost.

        At boundary 0 no plan is left out for its deadline: under overload only staying would fit then, everybody
        would stay, and the queue as well. Later a handover that would come too late is left out while staying fits.
        """
        best = local_plan(job, state)
        best_cost_ms = best.latency_ms + edge_price_ms(state.edge, best.edge_ms)
        filtered = job.boundary > 0 and best.latency_ms <= job.remaining_ms
        least_late_cost_ms = float("inf")
        handovers = handover_plans(job, state, rng)
        for plan in handovers:
            cost_ms = plan.latency_ms + price_ms(plan, state.edge)
            if filtered and plan.latency_ms > job.remaining_ms:
                least_late_cost_ms = min(least_late_cost_ms, cost_ms)
            elif cost_ms < best_cost_ms:
                best, best_cost_ms = plan, cost_ms
        reason = Reason.CHEAPER if handovers else Reason.NO_CLOUD
        if best.cloud is None and least_late_cost_ms < best_cost_ms:
            reason = Reason.DEADLINE
        return best.decision(reason, best_cost_ms)


def price_ms(plan: Plan, edge: EdgeState) -> float:
    """Delay that a plan causes to all other requests, summed."""
    price = edge_price_ms(edge, plan.edge_ms)
    cloud = plan.cloud
    if cloud is None:
        return price
    link = cloud.link
    price += _echo(link.utilization) * (link.waiting + link.utilization / 2) * plan.wire_ms
    delayed = plan.tail_ms / cloud.mean_service_ms if cloud.mean_service_ms > 0 else 1.0
    return price + _echo(cloud.utilization) * (plan.cloud_wait_ms + cloud.utilization * plan.tail_ms / 2) * delayed


def edge_price_ms(edge: EdgeState, work_ms: float) -> float:
    """Delay that `work_ms` on the edge causes to all other requests, summed."""
    delayed_ms = edge.waiting * work_ms + edge.arrivals_per_ms * work_ms**2 / 2
    return _echo(edge.utilization) * delayed_ms / edge.workers


def _echo(utilization: float) -> float:
    return 1.0 / (1.0 - min(max(utilization, 0.0), _HIGHEST_UTILIZATION))
