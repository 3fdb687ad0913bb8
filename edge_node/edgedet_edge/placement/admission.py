"""Admission by predicted finish against the deadline, and what is still worth a worker's time.

The margin follows the misses: after every admitted request μ ← clip(μ + 0.003·(missed - 0.01), 0.10, 0.45), which
settles where 1 % miss their deadline. It counts where requests wait for each other: were it to shut out an idle node's
requests, no outcome would ever narrow it again.
"""

import math
from dataclasses import dataclass
from random import Random

from edgedet_edge.placement.plans import local_plan, plans_for, usable_clouds
from edgedet_edge.placement.state import Job, NodeState

_STEP = 0.003
_MISS_RATE = 0.01
_LEAST_MARGIN, _MOST_MARGIN = 0.10, 0.45
_LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request is in; its outcome has to be told to `AdmissionControl.ended`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request would probably not be answered in time."""

    retry_after_s: int


@dataclass(slots=True)
class AdmissionControl:
    """Takes a request if its plan ends within (1 - μ) of its deadline, on an idle node with the least μ."""

    margin: float = _LEAST_MARGIN

    def reserve(self, *, idle: bool) -> float:
        """The share of a deadline that is not given out."""
        return _LEAST_MARGIN if idle else self.margin

    def admit(self, latency_ms: float, deadline_ms: float, rng: Random, *, idle: bool) -> Admitted | Refused:
        """Judge the latency that the policy predicts for a request with `deadline_ms` in all; `idle`: a worker is free.

        A refusal tells the whole seconds until the plan would fit, at least one, with a random second on top so that
        the refused do not all return at once.
        """
        late_ms = latency_ms - deadline_ms * (1.0 - self.reserve(idle=idle))
        if late_ms <= 0.0:
            return Admitted()
        whole_s = max(1, math.ceil(min(late_ms / 1000.0, _LONGEST_RETRY_S)))
        return Refused(min(whole_s + rng.randrange(2), _LONGEST_RETRY_S))

    def ended(self, *, missed: bool) -> None:
        """Follow the outcome of an admitted request."""
        moved = self.margin + _STEP * (float(missed) - _MISS_RATE)
        self.margin = min(max(moved, _LEAST_MARGIN), _MOST_MARGIN)


def can_still_finish(job: Job, state: NodeState) -> bool:
    """Whether any way to go on meets the deadline; else drop the request before any more work."""
    if local_plan(job, state).latency_ms <= job.remaining_ms:
        return True
    handovers = plans_for(job, state, usable_clouds(job, state))
    return any(plan.latency_ms <= job.remaining_ms for plan in handovers)
