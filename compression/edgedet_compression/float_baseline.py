"""The float network at work, as the baseline beside its int8 package: same input bytes, same suppression."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from edgedet_runtime.answer import Answer, Choices
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.classification import classify
from edgedet_runtime.detection import Detections, DetectThresholds, suppress
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import Photo

from edgedet_compression.quantization.input_stem import MAX_CODE, Normalization

Floats = npt.NDArray[np.float32]
Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class FloatNetwork:
    """A float ONNX network that takes the runtime's input codes; without `anchors` a classifier."""

    session: ort.InferenceSession
    normalization: Normalization
    anchors: Anchors

    @classmethod
    def load(cls, model: onnx.ModelProto, normalization: Normalization, anchors: Anchors) -> Self:
        """Prepare the network for one thread."""
        session = ort.InferenceSession(model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
        return cls(session, normalization, anchors)

    def prepare(self, codes: npt.NDArray[np.uint8]) -> Floats:
        """Codes [1, H, W, C] of 1, 3 or 4 channels to normalized [1, 1 or 3, H, W]."""
        channels = 3 if codes.shape[3] >= 3 else 1
        mean, std = (part.astype(np.float32) for part in self.normalization.of(channels))
        values = (codes[..., :channels].astype(np.float32) / np.float32(MAX_CODE) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def run(self, values: Floats) -> list[Floats]:
        """All outputs for values as `prepare` makes them."""
        outputs: list[Floats] = self.session.run(None, {self.session.get_inputs()[0].name: values})
        return outputs

    def answer(self, photo: Photo, source: InputSpec, choices: Choices) -> Answer:
        """Detections in photo pixels, or classes: what the package's chain answers, without its rounding."""
        codes, geometry = to_input(photo, source)
        outputs = self.run(self.prepare(codes))
        if isinstance(choices, int):
            return classify(outputs[0].reshape(-1), choices)  # [1, classes] or [1, classes, 1, 1]
        found = decode_yolo(outputs, self.anchors, source.height, choices)
        return replace(found, boxes=geometry.to_photo(found.boxes))


def decode_yolo(maps: list[Floats], anchors: Anchors, input_height: int, thresholds: DetectThresholds) -> Detections:
    """Boxes in input pixels out of raw float head maps [1, anchors·(5 + classes), rows, columns].

    Equations of Redmon & Farhadi 2018, "YOLOv3", section 2.1.
    """
    parts = [
        _decode_head(values[0], np.asarray(pairs, np.float32), input_height // values.shape[2], thresholds.score)
        for values, pairs in zip(maps, anchors, strict=True)
    ]
    boxes, scores, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return suppress(boxes, scores, labels, thresholds.iou, thresholds.max_detections)


def _decode_head(
    values: Floats, anchors: Floats, stride: int, threshold: float
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    _, rows, columns = values.shape
    grid = values.reshape(len(anchors), -1, rows * columns).transpose(2, 0, 1)
    objectness = _sigmoid(grid[:, :, 4])
    cell, anchor = np.nonzero(objectness > threshold)
    found = grid[cell, anchor]
    scores = objectness[cell, anchor][:, None] * _sigmoid(found[:, 5:])
    which, label = np.nonzero(scores > threshold)
    cell, anchor, found = cell[which], anchor[which], found[which]
    origin = np.column_stack([cell % columns, cell // columns]).astype(np.float32)
    center = (_sigmoid(found[:, :2]) + origin) * np.float32(stride)
    half = np.exp(found[:, 2:4]) * anchors[anchor] * np.float32(0.5)
    boxes = np.concatenate([center - half, center + half], axis=1)
    return boxes, scores[which, label], label.astype(np.int64)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # of a logit below -88: 1/inf is the 0 that is meant
        return np.float32(1) / (np.float32(1) + np.exp(-values))
