"""What a placement policy sees and says; all frozen. Durations are milliseconds, sizes bytes, clocks seconds."""

from dataclasses import dataclass, field
from enum import StrEnum

from edgedet_edge.placement.breaker import BreakerState


class Reason(StrEnum):
    """Why a photo took its way; published with every answer."""

    CHEAPER = "cheaper"
    """The policy compared staying with handing over; this is what it found best."""
    DEADLINE = "deadline"
    """Handing over looked better, but would have come after the deadline."""
    NO_CLOUD = "no-cloud"
    """No cloud is configured, reachable, measured and of the same package."""
    EDGE_ONLY = "edge-only"
    """The policy never hands over."""
    FIXED_BOUNDARY = "fixed-boundary"
    """The policy always hands over at one boundary."""
    PHOTOS_STAY = "photos-stay"
    """The policy or client wanted boundary 0, but photos do not leave the site: the next allowed one instead."""
    FORCED = "forced"
    """The client chose the boundary."""
    CLOUD_FAILED = "cloud-failed"
    """A handover failed or was refused, and the tail ran elsewhere. Set by the node, not by a policy."""
    CLOUD_LATE = "cloud-late"
    """A handover took longer than predicted, and its hedge was first. Set by the node, not by a policy."""


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a model of segments 1…N costs: on this edge, on the wire, and in a cloud not yet measured."""

    head_ms: tuple[float, ...]
    """Edge work before boundary k = 0…N: 0 at k = 0, decoding counted from k = 1 on, the whole inference at N."""
    encode_ms: tuple[float, ...]
    """Edge CPU for packing and sending boundary k = 0…N-1."""
    wire_bytes: tuple[float, ...]
    """What travels from boundary k = 0…N-1, after the choice between raw and zstd."""
    tail_ms: tuple[float, ...]
    """Cloud service time of segments k+1…N, k = 0…N-1, until a cloud's own is measured."""
    allowed: tuple[int, ...]
    """Boundaries at which a request may leave, ascending; without 0 where photos stay on the site."""

    def __post_init__(self) -> None:
        last = self.last
        if last < 1 or not len(self.encode_ms) == len(self.wire_bytes) == len(self.tail_ms) == last:
            raise ValueError("profile: head_ms needs N + 1 entries; encode_ms, wire_bytes and tail_ms need N each")
        if not all(0 <= k < last for k in self.allowed):
            raise ValueError(f"profile: allowed boundaries {self.allowed} are not within 0…{last - 1}")

    @property
    def last(self) -> int:
        """N, the number of segments."""
        return len(self.head_ms) - 1


@dataclass(frozen=True, slots=True)
class EdgeState:
    """The edge's workers and their queue."""

    workers: int
    waiting: int
    """Jobs in the queue."""
    residual_ms: tuple[float, ...]
    """Predicted remaining work of each running job; fewer entries than workers: a worker is free."""
    mean_service_ms: float
    """Edge work per request, moving average."""
    utilization: float
    """Share of busy workers over the last second or so, 0…1."""
    arrivals_per_ms: float
    """Admitted requests."""

    @property
    def idle(self) -> bool:
        """Whether a worker is free for a new job; queued jobs that none has taken yet count against the free ones."""
        return len(self.residual_ms) + self.waiting < self.workers

    @property
    def wait_ms(self) -> float:
        """A new job's wait for a worker."""
        if self.idle:
            return 0.0
        return (self.waiting * self.mean_service_ms + sum(self.residual_ms)) / self.workers


@dataclass(frozen=True, slots=True)
class LinkState:
    """The way to a cloud: one tensor at a time, the others wait in order."""

    rtt_ms: float | None
    """None: never measured."""
    bandwidth_bytes_ms: float | None
    """None: never measured, or too old to be trusted; a probe measures it again."""
    waiting: int = 0
    """Tensors in the queue."""
    queued_bytes: float = 0.0
    """Theirs."""
    transfer_bytes: float = 0.0
    """Size of the tensor on the wire; 0 when the wire is free."""
    transfer_elapsed_ms: float = 0.0
    utilization: float = 0.0
    """Share of time the wire was busy with our tensors, 0…1."""


@dataclass(frozen=True, slots=True)
class CloudState:
    """A cloud as known at `now`, for the model of the request."""

    address: str
    link: LinkState
    same_package: bool
    """Whether the cloud's digest of the package is the edge's."""
    breaker: BreakerState = BreakerState.CLOSED
    workers: int = 1
    backlog_ms: float = 0.0
    """Wait of a new request as of the last reply: waiting and running work over workers."""
    reply_age_ms: float = 0.0
    own_ms: float = 0.0
    """Work sent from here that no reply has told of yet, not divided by workers."""
    utilization: float = 0.0
    mean_service_ms: float = 0.0
    """0: unknown."""
    tail_ms: tuple[float | None, ...] = ()
    """Measured service time from boundary k on; None or missing: the profile's."""

    @property
    def usable(self) -> bool:
        """Whether real requests may go there; an unmeasured link has to be probed first."""
        measured = self.link.rtt_ms is not None and bool(self.link.bandwidth_bytes_ms)
        return self.same_package and self.breaker is BreakerState.CLOSED and measured

    def expected_tail_ms(self, profile: ModelProfile, boundary: int) -> float:
        """Service time of segments `boundary` + 1…N there."""
        measured = self.tail_ms[boundary] if boundary < len(self.tail_ms) else None
        return profile.tail_ms[boundary] if measured is None else measured


@dataclass(frozen=True, slots=True)
class NodeState:
    """Everything outside the request that a decision depends on."""

    edge: EdgeState
    clouds: tuple[CloudState, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One request, as a policy sees it."""

    profile: ModelProfile
    boundary: int
    """Where it stands: segments 1…boundary are done."""
    now_s: float
    deadline_s: float
    queued: bool = False
    """Whether it has no worker: at admission, and after a handover that failed."""
    excluded: frozenset[str] = field(default_factory=frozenset)
    """Clouds that failed or refused this request."""

    @property
    def remaining_ms(self) -> float:
        """Time left."""
        return (self.deadline_s - self.now_s) * 1000.0


@dataclass(frozen=True, slots=True)
class Local:
    """Finish at home. Run one segment, then decide again."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Leave for `cloud` at `boundary`. While the request has not got there: run one segment, then decide again."""

    cloud: str
    boundary: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan for the rest of a request."""

    where: Local | HandOver
    latency_ms: float
    """Predicted from now to the answer."""
    cost_ms: float
    """Latency plus the delay caused to others, where the policy counts it."""
    edge_ms: float
    """Edge work of the plan: the predicted residual of the worker that runs it."""
    reason: Reason

    def leaves_at(self, boundary: int) -> str | None:
        """Address of the cloud that a request standing at `boundary` leaves for; None: run one more segment here."""
        if isinstance(self.where, HandOver) and self.where.boundary == boundary:
            return self.where.cloud
        return None
