"""The answer that every placement has to give: the whole network in one session, no segments, no edge."""

from pathlib import Path
from typing import Any

import onnxruntime
from edgedet_runtime.answer import Finisher
from edgedet_runtime.detection import Detections, DetectThresholds
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import load_package
from edgedet_runtime.photo import decode_photo


class FusedModel:
    """A package's `model.onnx` as it is."""

    def __init__(self, folder: Path) -> None:
        self.package = load_package(folder)
        self.segment_count = self.package.manifest.segment_count
        self._finisher = Finisher.load(self.package)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.package.path("model.onnx"), options, ["CPUExecutionProvider"])

    def detect(self, photo: bytes, thresholds: DetectThresholds | None = None) -> list[dict[str, Any]]:
        """The detections as the edge's document tells them."""
        manifest = self.package.manifest
        tensor, geometry = to_input(decode_photo(photo), manifest.input)
        names = [output.name for output in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(names, {manifest.input.name: tensor}), strict=True))
        choices = thresholds or self._finisher.default_choices()
        found = self._finisher.finish(outputs, geometry, choices)
        assert isinstance(found, Detections)
        return [
            {
                "label": manifest.labels[label],
                "score": score,
                "box": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
            }
            for label, score, box in zip(
                found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True
            )
        ]
