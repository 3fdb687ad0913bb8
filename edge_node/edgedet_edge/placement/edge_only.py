"""Baseline: everything runs at home."""

from random import Random

from edgedet_edge.placement.plans import local_plan
from edgedet_edge.placement.state import Decision, Job, NodeState, Reason


class EdgeOnly:
    """Never hands over."""

    name = "edge-only"

    def __init__(self, reason: Reason = Reason.EDGE_ONLY) -> None:
        self.reason = reason
        """`Reason.NO_CLOUD` where a client chose a boundary, but there is no cloud."""

    def decide(self, job: Job, state: NodeState, rng: Random) -> Decision:  # noqa: ARG002  (the seam's signature)
        """Stay."""
        return local_plan(job, state).decision(self.reason)
