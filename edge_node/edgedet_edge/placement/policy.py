"""The seam behind which placement policies stand, and their names on the command line."""

from random import Random
from typing import Protocol

from edgedet_edge.placement.edge_only import EdgeOnly
from edgedet_edge.placement.fixed_boundary import FixedBoundary
from edgedet_edge.placement.greedy import Greedy
from edgedet_edge.placement.marginal_cost import MarginalCost
from edgedet_edge.placement.neurosurgeon import Neurosurgeon
from edgedet_edge.placement.state import Decision, Job, NodeState

POLICY_NAMES = ("marginal-cost", "edge-only", "fixed-boundary=K", "neurosurgeon", "greedy")


class Policy(Protocol):
    """Asked at admission, when a worker starts the request, and at every boundary.

    Equal arguments (and an equally seeded `rng`) give equal decisions.
    """

    name: str

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:
        """Stay or hand over."""
        ...


def parse_policy(text: str) -> Policy:
    """The policy of that name.

    Raises:
        ValueError: naming the policies there are.
    """
    plain: tuple[Policy, ...] = (MarginalCost(), EdgeOnly(), Neurosurgeon(), Greedy())
    for policy in plain:
        if policy.name == text:
            return policy
    name, _, value = text.partition("=")
    if name == "fixed-boundary" and value.isascii() and value.isdigit():
        return FixedBoundary(int(value))
    raise ValueError(f"placement: {text!r} is not one of {', '.join(POLICY_NAMES)} (K a whole number from 0 on)")
