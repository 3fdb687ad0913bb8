"""A photo on its way through the node."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Literal

from edgedet_runtime.answer import Answer, Choices, Finisher
from edgedet_runtime.backend import RunContext, Tensor
from edgedet_runtime.chain import Chain
from edgedet_runtime.letterbox import Geometry
from edgedet_runtime.package import Package
from edgedet_runtime.photo import PhotoHeader
from edgedet_runtime.profile import Profile

from edgedet_edge.measurements import Timing
from edgedet_edge.placement import Policy, Reason

Placement = Literal["edge", "split", "cloud"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A package with all that answering by it needs."""

    package: Package
    chain: Chain
    finisher: Finisher
    profile: Profile

    @property
    def segment_count(self) -> int:
        """Segments of the chain: the package's N, or 1 on a node without clouds."""
        return self.chain.segment_count

    @property
    def reference(self) -> str:
        """``name:version``."""
        return self.package.reference


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer and how it came about."""

    answer: Answer
    placement: Placement
    boundary: int
    reason: str
    cloud_backend: str
    """What ran the tail; empty where the tail ran here."""
    bytes_sent: int
    timing: Timing
    tail_at_home: bool


@dataclass(slots=True)
class Copies:
    """How many copies of one photo's job may still bring its answer; shared by all of them, told in the event loop."""

    under_way: int = 1
    fault: Exception | None = None
    """Why the answer cannot be computed here; a cloud's fault is nothing to tell a client."""


@dataclass(eq=False, slots=True)
class Job:
    """An accepted photo; owned by one worker or by the event loop at a time, never by both.

    Clocks are `time.monotonic()` in seconds.
    """

    request_id: str
    model: ServedModel
    data: bytes
    header: PhotoHeader
    choices: Choices
    policy: Policy
    accepted_s: float
    deadline_s: float
    answered: "asyncio.Future[Outcome]"

    boundary: int = 0
    """Where the inference stands: segments 1…boundary are done."""
    live: dict[str, Tensor] | None = None
    """The boundary's live tensors; None until the photo is decoded."""
    geometry: Geometry | None = None
    context: RunContext = field(default_factory=RunContext)
    queued_s: float = 0.0
    timing: Timing = field(default_factory=Timing)
    reason: str = ""
    bytes_sent: int = 0
    """To clouds, so far."""
    excluded: frozenset[str] = frozenset()
    """Clouds that this job does not try again."""
    tail_at_home: bool = False
    """Whether segments run here after a handover did not bring the answer."""
    copies: Copies = field(default_factory=Copies)

    @property
    def unwanted(self) -> bool:
        """Whether the answer is there already, or nobody waits for it."""
        return self.answered.done()

    def copy_for_home(self, cloud: str, reason: Reason, spent_ms: float) -> "Job":
        """The same photo at the same boundary, to go on without `cloud`, which took so long for nothing."""
        return replace(
            self,
            timing=replace(self.timing, transfer=self.timing.transfer + spent_ms),
            excluded=self.excluded | {cloud},
            reason=reason.value,
            tail_at_home=True,
        )
