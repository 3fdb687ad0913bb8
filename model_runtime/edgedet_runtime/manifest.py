"""The manifest of a package: all that is needed to feed a network and to read its answer."""

import hashlib
import json
import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
"""Of packages: a folder, a part of URLs and of metrics."""

Task = Literal["detect", "classify"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    """Frozen, and strict about fields it does not know: a typo in a manifest must not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Record):
    """A tensor by name; uint8 feature maps are NHWC."""

    name: str
    shape: tuple[int, ...] = Field(description="with the batch dimension 1 in front")
    dtype: Literal["uint8", "float32"]

    @property
    def nbytes(self) -> int:
        """Bytes of the raw tensor."""
        return math.prod(self.shape) * (1 if self.dtype == "uint8" else 4)


class InputSpec(_Record):
    """How a photo becomes the network's uint8 input [1, height, width, channels]."""

    name: str
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3, 4] = Field(
        description="1: luma; 3: RGB; 4: RGBX, X is 255 everywhere (four channels make the first layer faster)"
    )
    resize: Literal["letterbox", "plain"] = "letterbox"
    filter: Literal["linear", "area"] = Field(
        default="linear", description="area: the mean of all pixels that one is made of; photos are enlarged by linear"
    )
    fill: int = Field(default=114, ge=0, le=255, description="gray value of the letterbox's bars")

    @property
    def tensor(self) -> TensorSpec:
        """The input as a tensor."""
        return TensorSpec(name=self.name, shape=(1, self.height, self.width, self.channels), dtype="uint8")


class Boundary(_Record):
    """Boundary k, 0 < k < N: the point after segment k, where a request can change its machine."""

    k: int = Field(gt=0)
    tensors: tuple[TensorSpec, ...] = Field(min_length=1, description="live tensors, in this order")
    head_macs: int = Field(ge=0, description="multiply-accumulates of segments 1…k")

    @property
    def nbytes(self) -> int:
        """Bytes of all live tensors, uncompressed."""
        return sum(tensor.nbytes for tensor in self.tensors)


_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class YoloHead(_Record):
    """One head map uint8 [1, rows, columns, ≥ anchors·(5 + classes)] of a YOLOv3-like detector.

    A channel's value is ``scale · multiplier · (code - zero_point)``; the multiplier is that of its group.
    """

    tensor: str
    stride: int = Field(gt=0, description="input pixels per cell")
    anchors: tuple[tuple[_Length, _Length], ...] = Field(min_length=1, description="width, height in input pixels")
    scale: float = Field(gt=0)
    zero_point: int = Field(ge=0, le=255)
    multipliers: tuple[float, float, float, float] = Field(
        default=(1.0, 1.0, 1.0, 1.0), description="of the groups xy, wh, objectness, classes"
    )


class YoloDecoding(_Record):
    """Box decoding of YOLOv3 (Redmon & Farhadi 2018), by table lookups.

    ``x = (σ(t_x) + column)·stride``, ``w = anchor_w·exp(t_w)``, score = σ(objectness)·σ(class).
    `tables` names a float32 file [heads, 4, 256]: σ, exp, σ, σ of every code of the groups
    xy, wh, objectness, classes, so that no machine computes a transcendental function of its own.
    """

    kind: Literal["yolov3"] = "yolov3"
    tables: str = "decoding.npy"
    heads: tuple[YoloHead, ...] = Field(min_length=1)
    score_threshold: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.45, ge=0, le=1)
    max_detections: int = Field(default=100, ge=1, le=1000)


class SoftmaxDecoding(_Record):
    """Class scores by softmax over float32 logits [1, classes]."""

    kind: Literal["softmax"] = "softmax"
    tensor: str
    top_k: int = Field(default=5, ge=1)


class Provenance(_Record):
    """Where a package comes from."""

    recipe: str = Field(description="the command or recipe that built it")
    data: tuple[str, ...] = Field(default=(), description="data sets read, with their sha256 where known")
    seed: int | None = None
    parent: str | None = Field(default=None, description="weights or package it was made from, with sha256")
    tool_version: str


class Metric(_Record):
    """A measured figure and the command that shows it."""

    name: str
    value: float
    unit: str = ""
    dataset: str
    n: int = Field(gt=0, description="photos")
    interval: tuple[float, float] | None = Field(default=None, description="95 %")
    command: str


class Manifest(_Record):
    """`manifest.json` of a package; the JSON Schema is in docs/manifest.schema.json."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(ge=1)
    task: Task
    description: str = ""
    labels: tuple[str, ...] = Field(min_length=1)
    input: InputSpec
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    decoding: YoloDecoding | SoftmaxDecoding = Field(discriminator="kind")
    macs: int = Field(gt=0, description="multiply-accumulates of the whole network")
    weight_bits: Literal[4, 8] = Field(default=8, description="of every layer's weights")
    activation_bits: Literal[4, 8] = Field(default=8, description="of what layers read; the image has 8 in any case")
    boundaries: tuple[Boundary, ...] = Field(default=(), description="k = 1…N-1, in order")
    license: str
    provenance: Provenance
    metrics: tuple[Metric, ...] = ()
    files: dict[str, Sha256] = Field(description="every other file of the package and its sha256")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [boundary.k for boundary in self.boundaries] != list(range(1, len(self.boundaries) + 1)):
            raise ValueError("boundaries: k must count 1, 2, 3, … in order")
        if (self.task == "detect") != (self.decoding.kind == "yolov3"):
            raise ValueError(f"decoding: kind {self.decoding.kind!r} does not fit task {self.task!r}")
        outputs = {tensor.name for tensor in self.outputs}
        wanted = (
            {head.tensor for head in self.decoding.heads} if self.decoding.kind == "yolov3" else {self.decoding.tensor}
        )
        if not wanted <= outputs:
            raise ValueError(f"decoding: reads {sorted(wanted - outputs)}, which outputs does not list")
        self._check_output_shapes()
        needed = {"model.onnx"} | ({self.decoding.tables} if self.decoding.kind == "yolov3" else set())
        if not needed <= self.files.keys():
            raise ValueError(f"files: lacks {sorted(needed - self.files.keys())}")
        if any(path.startswith("/") or ".." in path.split("/") for path in self.files):
            raise ValueError("files: paths must stay inside the package folder")
        return self

    def _check_output_shapes(self) -> None:
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if self.decoding.kind == "softmax":
            logits = outputs[self.decoding.tensor]
            if (logits.dtype, logits.shape) != ("float32", (1, len(self.labels))):
                raise ValueError(f"outputs: {logits.name!r} must be float32 [1, {len(self.labels)}], one per label")
            return
        for head in self.decoding.heads:
            codes, least = outputs[head.tensor], len(head.anchors) * (5 + len(self.labels))
            if codes.dtype != "uint8" or len(codes.shape) != 4 or codes.shape[3] < least:
                raise ValueError(f"outputs: {head.tensor!r} must be uint8 [1, rows, columns, {least} or more]")
            rows, columns = (side * head.stride for side in codes.shape[1:3])
            if (rows, columns) != (self.input.height, self.input.width):
                raise ValueError(
                    f"decoding: {head.tensor!r} of stride {head.stride} covers {columns} x {rows} input pixels, not "
                    f"{self.input.width} x {self.input.height}"
                )

    @property
    def segment_count(self) -> int:
        """N, the number of segments."""
        return len(self.boundaries) + 1

    @property
    def digest(self) -> str:
        """Sha256 over what decides the answer; a new card or a new metric leaves it as it is."""
        decisive = {
            "model": self.files["model.onnx"],
            "tables": self.files[self.decoding.tables] if self.decoding.kind == "yolov3" else None,
            "input": self.input.model_dump(mode="json"),
            "outputs": [tensor.model_dump(mode="json") for tensor in self.outputs],
            "decoding": self.decoding.model_dump(
                mode="json", exclude={"score_threshold", "iou_threshold", "max_detections", "top_k"}
            ),
            "boundaries": [boundary.model_dump(mode="json") for boundary in self.boundaries],
            "labels": self.labels,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
