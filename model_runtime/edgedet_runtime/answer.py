"""From a network's outputs to the answer: the one function that edge and cloud both finish a task with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from edgedet_runtime.backend import Tensor
from edgedet_runtime.classification import Classes, classify
from edgedet_runtime.detection import MAX_CANDIDATES, Detections, DetectThresholds, YoloDecoder
from edgedet_runtime.letterbox import Geometry
from edgedet_runtime.manifest import Manifest, SoftmaxDecoding
from edgedet_runtime.package import Package

Answer = Detections | Classes
Choices = DetectThresholds | int
"""What a request chooses: thresholds of a detector, or k of a classifier's top-k."""


@dataclass(frozen=True, slots=True)
class Finisher:
    """Decodes the outputs of one package."""

    manifest: Manifest
    decoder: YoloDecoder | SoftmaxDecoding

    @classmethod
    def load(cls, package: Package) -> Self:
        """Read what decoding needs from the package."""
        manifest = package.manifest
        if manifest.decoding.kind == "softmax":
            return cls(manifest, manifest.decoding)
        tables = package.path(manifest.decoding.tables)
        return cls(manifest, YoloDecoder.load(manifest.decoding, tables, len(manifest.labels)))

    def default_choices(self) -> Choices:
        """The package's own thresholds or top-k."""
        decoding = self.manifest.decoding
        if decoding.kind == "softmax":
            return min(decoding.top_k, len(self.manifest.labels))
        return DetectThresholds(decoding.score_threshold, decoding.iou_threshold, decoding.max_detections)

    def finish(self, outputs: Mapping[str, Tensor], geometry: Geometry, choices: Choices) -> Answer:
        """Detections in photo pixels, or classes."""
        if isinstance(self.decoder, SoftmaxDecoding):
            if not isinstance(choices, int):
                raise TypeError("a classifier is asked for its best k classes")
            return classify(outputs[self.decoder.tensor][0], choices)
        if isinstance(choices, int):
            raise TypeError("a detector is asked with thresholds")
        detections = self.decoder(dict(outputs), replace(choices, max_detections=MAX_CANDIDATES))
        boxes = geometry.to_photo(detections.boxes)
        # What lies in the letterbox's bars alone is nothing of the photo's, and takes no place of what is.
        inside = np.nonzero((boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3]))[0][: choices.max_detections]
        return replace(
            detections, boxes=boxes[inside], scores=detections.scores[inside], labels=detections.labels[inside]
        )
