"""Detections: head codes to boxes by table lookups, then class-aware non-maximum suppression."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import YoloDecoding, YoloHead

# Boxes that enter suppression; more than this only with thresholds near zero, as in evaluation.
MAX_CANDIDATES = 5000


@dataclass(frozen=True, slots=True)
class Detections:
    """n boxes (x1, y1, x2, y2) float32 [n, 4], scores float32 [n], label indices int64 [n]; best first."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def to_rows(self) -> NDArray[np.float32]:
        """Float32 [n, 6]: x1, y1, x2, y2, score, label index."""
        return np.column_stack([self.boxes, self.scores, self.labels.astype(np.float32)]).astype(np.float32)

    @classmethod
    def from_rows(cls, rows: NDArray[np.float32]) -> Self:
        """The inverse of `to_rows`."""
        return cls(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int64))


@dataclass(frozen=True, slots=True)
class DetectThresholds:
    """What a request may choose: score and IoU thresholds in 0…1, and the most boxes answered."""

    score: float
    iou: float
    max_detections: int


@dataclass(frozen=True, slots=True)
class YoloDecoder:
    """A package's decoding with its tables float32 [heads, 4, 256] (xy, wh, objectness, classes)."""

    decoding: YoloDecoding
    tables: NDArray[np.float32]
    classes: int

    @classmethod
    def load(cls, decoding: YoloDecoding, path: Path, classes: int) -> Self:
        """Read the tables of a package.

        Raises:
            PackageRefused: the tables do not have the shape that the decoding needs.
        """
        try:
            with path.open("rb") as file:
                tables = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise PackageRefused(f"{path}: is no array file: {error}") from error
        if tables.shape != (len(decoding.heads), 4, 256) or tables.dtype != np.float32:
            raise PackageRefused(f"{path}: tables must be float32 [{len(decoding.heads)}, 4, 256]")
        return cls(decoding, tables, classes)

    def __call__(self, outputs: dict[str, NDArray[np.uint8]], thresholds: DetectThresholds) -> Detections:
        """Decode the head maps (uint8 NHWC by name) and suppress; boxes in input pixels."""
        parts = [
            self._head(head, self.tables[index], outputs[head.tensor][0], thresholds.score)
            for index, head in enumerate(self.decoding.heads)
        ]
        boxes = np.concatenate([part[0] for part in parts])
        scores = np.concatenate([part[1] for part in parts])
        labels = np.concatenate([part[2] for part in parts])
        return suppress(boxes, scores, labels, thresholds.iou, thresholds.max_detections)

    def _head(
        self, head: YoloHead, tables: NDArray[np.float32], codes: NDArray[np.uint8], threshold: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        xy, wh, objectness, classes = tables
        rows, columns, _ = codes.shape
        anchors, fields = len(head.anchors), 5 + self.classes
        grid = codes[:, :, : anchors * fields].reshape(rows * columns, anchors, fields)
        # A score is objectness · class ≤ objectness: most cells are left out by one byte compare.
        enough = objectness > threshold
        cell, anchor = np.nonzero(enough[grid[:, :, 4]])
        found = grid[cell, anchor]
        scores = objectness[found[:, 4]][:, np.newaxis] * classes[found[:, 5:]]
        which, label = np.nonzero(scores > threshold)
        cell, anchor, found = cell[which], anchor[which], found[which]
        stride = np.float32(head.stride)
        origin = np.column_stack([cell % columns, cell // columns]).astype(np.float32)
        center = (xy[found[:, :2]] + origin) * stride
        half = wh[found[:, 2:4]] * np.asarray(head.anchors, np.float32)[anchor] * np.float32(0.5)
        boxes = np.concatenate([center - half, center + half], axis=1)
        return boxes, scores[which, label], label.astype(np.int64)


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    iou_threshold: float,
    max_detections: int,
) -> Detections:
    """Greedy non-maximum suppression within each class; boxes [n, 4], scores [n], labels [n].

    A box falls if its IoU with a better kept box of its class is above the threshold. Ties in score go to the
    earlier box, so that every machine keeps the same ones.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    # Class by class: shifting boxes apart by label, the usual trick, would round their coordinates.
    kept = [
        index
        for label in np.unique(labels)
        for index in _suppress_one_class(boxes, np.nonzero(labels == label)[0], np.float32(iou_threshold))
    ]
    best = np.sort(np.asarray(kept, np.int64))[:max_detections]
    return Detections(boxes[best], scores[best], labels[best])


def _suppress_one_class(boxes: NDArray[np.float32], members: NDArray[np.int64], iou_threshold: np.float32) -> list[int]:
    """Indices kept among `members`, which are sorted by falling score."""
    kept: list[int] = []
    x1, y1, x2, y2 = boxes[members].T
    areas = (x2 - x1) * (y2 - y1)
    alive = np.arange(len(members))
    while len(alive):
        best, rest = alive[0], alive[1:]
        kept.append(int(members[best]))
        if not len(rest):
            break
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.maximum(width, np.float32(0)) * np.maximum(height, np.float32(0))
        union = areas[best] + areas[rest] - overlap
        alive = rest[overlap <= iou_threshold * union]
    return kept
