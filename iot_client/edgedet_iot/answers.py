"""What an edge answers, as frozen values, and their reading from JSON; fields that are unknown here are passed over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from edgedet_iot.errors import NotAnAnswer

Placement = Literal["edge", "split", "cloud"]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Model:
    """The package that answered."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Pixels of the photo in its upright frame."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Box:
    """Corners in pixels of the photo."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One object."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class; scores of all classes add up to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class SegmentRun:
    """Where a segment of the network ran."""

    index: int
    where: Literal["edge", "cloud"]
    backend: str


@dataclass(frozen=True, slots=True)
class Route:
    """The way a photo took: segments 1…`boundary` ran on the edge, the rest in a cloud."""

    placement: Placement
    boundary: int
    reason: str
    segments: tuple[SegmentRun, ...]
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds on the edge's clock; stages that did not run are 0."""

    decode_ms: float
    queue_ms: float
    head_ms: float
    encode_ms: float
    transfer_ms: float
    cloud_queue_ms: float
    tail_ms: float
    postprocess_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Detections:
    """The answer to `detect`: objects, best first."""

    detections: tuple[Detection, ...]
    request_id: str
    model: Model
    image: ImageSize
    route: Route
    timing: Timing
    edge: str
    """URL of the edge that answered."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The answer to `classify`: the best classes, best first."""

    classes: tuple[ClassScore, ...]
    request_id: str
    model: Model
    image: ImageSize
    route: Route
    timing: Timing
    edge: str
    """URL of the edge that answered."""


def read_detections(body: Any, edge: str) -> Detections:
    """The answer of `POST /v1/detect`.

    Raises:
        NotAnAnswer: a field is missing or has another type.
    """

    def read() -> Detections:
        found = tuple(
            Detection(str(one["label"]), float(one["score"]), Box(*(float(one["box"][c]) for c in _CORNERS)))
            for one in body["detections"]
        )
        return Detections(found, *_frame(body), edge=edge)

    return _guarded(read, edge)


def read_classes(body: Any, edge: str) -> Classes:
    """The answer of `POST /v1/classify`.

    Raises:
        NotAnAnswer: a field is missing or has another type.
    """

    def read() -> Classes:
        scores = tuple(ClassScore(str(one["label"]), float(one["score"])) for one in body["classes"])
        return Classes(scores, *_frame(body), edge=edge)

    return _guarded(read, edge)


_CORNERS = ("x1", "y1", "x2", "y2")
_STAGES = ("decode", "queue", "head", "encode", "transfer", "cloud_queue", "tail", "postprocess", "total")


def _guarded(read: Callable[[], Answer], edge: str) -> Answer:
    try:
        return read()
    except KeyError as missing:
        raise NotAnAnswer(f"the answer has no field {missing}", edge) from missing
    except (TypeError, ValueError, IndexError, OverflowError) as error:  # JSON's 1e999 is no int
        raise NotAnAnswer(f"the answer has another form: {error}", edge) from error


def _frame(body: Any) -> tuple[str, Model, ImageSize, Route, Timing]:
    """What all answers have around their result."""
    model, image, route, timing = body["model"], body["image"], body["route"], body["timing_ms"]
    segments = tuple(SegmentRun(int(s["index"]), s["where"], str(s["backend"])) for s in route["segments"])
    return (
        str(body["request_id"]),
        Model(str(model["name"]), int(model["version"]), str(model["digest"])),
        ImageSize(int(image["width"]), int(image["height"])),
        Route(_placement(route), int(route["boundary"]), str(route["reason"]), segments, int(route["bytes_sent"])),
        Timing(*(float(timing[stage]) for stage in _STAGES)),
    )


def _placement(route: Any) -> Placement:
    if route["placement"] not in ("edge", "split", "cloud"):
        raise ValueError(f"placement {route['placement']!r}")
    return cast(Placement, route["placement"])
