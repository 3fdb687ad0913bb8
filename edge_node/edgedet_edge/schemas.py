"""What the HTTP interface answers, as pydantic models: they make the OpenAPI document.

Answers are built as plain structures and encoded by orjson; validating every one would cost more than the rest of
the HTTP path (tests hold the answers against these models instead).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgedet_edge.placement import BreakerState, Reason

Placement = Literal["edge", "split", "cloud"]
Covered = Annotated[
    float,
    Field(
        description="seconds that the figures are of, up to ten more than the window, and no more than the first of "
        "the nodes has run; a rate divides by these"
    ),
]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelReference(_Schema):
    """The package that answered."""

    name: str = Field(examples=["yolov3-tiny-coco"])
    version: int = Field(examples=[1])
    digest: str = Field(description="sha256 over what decides the answer")


class ImageSize(_Schema):
    """Pixels of the posted photo in its upright frame."""

    width: int = Field(examples=[640])
    height: int = Field(examples=[480])


class Box(_Schema):
    """Corners in pixels of the posted photo."""

    x1: float
    y1: float
    x2: float
    y2: float


class DetectedObject(_Schema):
    """One detection."""

    label: str = Field(examples=["person"])
    score: float = Field(ge=0, le=1)
    box: Box


class ClassScore(_Schema):
    """One class."""

    label: str = Field(examples=["ship"])
    score: float = Field(ge=0, le=1)


class SegmentRun(_Schema):
    """Where a segment ran."""

    index: int = Field(ge=1)
    where: Literal["edge", "cloud"]
    backend: str = Field(examples=["onnxruntime"])


class Route(_Schema):
    """The way a photo took."""

    placement: Placement
    boundary: int = Field(description="k: segments 1…k ran on the edge")
    reason: Reason
    segments: list[SegmentRun]
    bytes_sent: int = Field(description="tensor bytes sent to the cloud, as encoded")


class TimingMs(_Schema):
    """Milliseconds per stage; stages that did not run are 0."""

    decode: float
    queue: float
    head: float
    encode: float
    transfer: float = Field(description="to the cloud and back; of clouds that brought no answer all they took")
    cloud_queue: float
    tail: float
    postprocess: float
    total: float


class _AnswerSchema(_Schema):
    request_id: str
    model: ModelReference
    image: ImageSize
    route: Route
    timing_ms: TimingMs


class DetectAnswer(_AnswerSchema):
    """Objects, best first."""

    detections: list[DetectedObject]


class ClassifyAnswer(_AnswerSchema):
    """The best k classes, best first."""

    classes: list[ClassScore]


class Problem(_Schema):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:edgedet:problem:overloaded"])
    title: str = Field(examples=["Overloaded"])
    status: int = Field(examples=[429])
    detail: str
    request_id: str | None = None
    retry_after_s: int | None = None


class LiveTensor(_Schema):
    """A tensor that a boundary carries."""

    name: str
    shape: list[int]
    dtype: Literal["uint8", "float32"]
    bytes: int


class BoundaryInfo(_Schema):
    """A boundary of a model."""

    k: int
    live_tensors: list[LiveTensor]
    bytes: int
    head_share: float = Field(ge=0, le=1, description="share of the multiply-accumulates before it")


class ModelInfo(ModelReference):
    """A package this node serves."""

    task: Literal["detect", "classify"]
    description: str
    labels: list[str]
    segments: int
    boundaries: list[BoundaryInfo]
    default: bool = Field(description="whether a request without `model` gets it")


class Models(_Schema):
    """All packages, and the folders that were refused."""

    models: list[ModelInfo]
    refused: dict[str, str] = Field(description="folder: reason")


class PlacementLatency(_Schema):
    """Latency of one placement over the window."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    stages_ms: dict[str, float] = Field(description="mean of each stage")


class LatencyMetrics(_Schema):
    """`placements` has edge, split, cloud and all."""

    window_s: int = Field(description="as asked for")
    covered_s: Covered
    registry: Literal["up", "down", "off"]
    placements: dict[str, PlacementLatency]


class CloudLink(_Schema):
    """What the node knows of a cloud; null is unknown."""

    address: str
    rtt_ms: float | None
    bandwidth_mbit_s: float | None
    estimate_age_s: float | None
    breaker: BreakerState


class OffloadMetrics(_Schema):
    """How much left the edge over the window."""

    window_s: int = Field(description="as asked for")
    covered_s: Covered
    registry: Literal["up", "down", "off"]
    requests: int
    offloaded: int
    ratio: float
    by_boundary: dict[str, int]
    by_reason: dict[Reason, int]
    bytes_sent: int = Field(description="tensor bytes of photos sent to clouds, without probes")
    cloud_failures: int
    local_tails: int
    clouds: list[CloudLink]


class Spending(_Schema):
    """Of simulated hardware; null is unknown."""

    energy_uj: float | None = Field(description="as simulated")
    time_ms: float | None = Field(description="as simulated")
    counted_ms: float | None = Field(description="what the scheduler counts for the same runs")


class ModelOnHardware(_Schema):
    """A model on its chip, since the node started."""

    preset: str
    chip: int = Field(description="seed")
    inferences: int = Field(description="photos whose first segment ran here; a cloud may have finished them")
    total: Spending
    per_inference: Spending


class AcceleratorMetrics(_Schema):
    """`models` has those on simulated hardware: none with a digital backend."""

    backend: str
    capacity: Literal["host", "simulated"]
    models: dict[str, ModelOnHardware] = Field(description="by name:version")


class EdgeState(_Schema):
    """An edge as it last reported itself."""

    id: str
    address: str
    workers: int
    waiting: int
    utilization: float
    models: dict[str, str] = Field(description="name:version → digest")
    clouds: list[CloudLink]
    age_s: float


class Cluster(_Schema):
    """The edges in the registry; without Redis this node alone."""

    registry: Literal["up", "down", "off"]
    edges: list[EdgeState]


class Health(_Schema):
    """Liveness or readiness."""

    status: Literal["live", "ready", "draining"]
