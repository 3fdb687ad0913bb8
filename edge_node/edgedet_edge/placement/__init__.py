"""Where the rest of an inference runs: pure policies, state and `now` in, decision out.

Clocks are monotonic seconds (`now_s`), durations milliseconds; randomness comes in as a seeded `random.Random`.
"""

from edgedet_edge.placement.admission import AdmissionControl, Admitted, Refused, can_still_finish
from edgedet_edge.placement.breaker import Breaker, BreakerState
from edgedet_edge.placement.cloud_tracker import CloudReport, CloudTracker
from edgedet_edge.placement.edge_only import EdgeOnly
from edgedet_edge.placement.edge_tracker import EdgeTracker
from edgedet_edge.placement.fixed_boundary import FixedBoundary
from edgedet_edge.placement.hedge import REARM_MS, Hedging
from edgedet_edge.placement.policy import POLICY_NAMES, Policy, parse_policy
from edgedet_edge.placement.probes import ProbeSchedule
from edgedet_edge.placement.state import (
    CloudState,
    Decision,
    EdgeState,
    HandOver,
    Job,
    LinkState,
    Local,
    ModelProfile,
    NodeState,
    Reason,
)

__all__ = [
    "POLICY_NAMES",
    "REARM_MS",
    "AdmissionControl",
    "Admitted",
    "Breaker",
    "BreakerState",
    "CloudReport",
    "CloudState",
    "CloudTracker",
    "Decision",
    "EdgeOnly",
    "EdgeState",
    "EdgeTracker",
    "FixedBoundary",
    "HandOver",
    "Hedging",
    "Job",
    "LinkState",
    "Local",
    "ModelProfile",
    "NodeState",
    "Policy",
    "ProbeSchedule",
    "Reason",
    "Refused",
    "can_still_finish",
    "parse_policy",
]
