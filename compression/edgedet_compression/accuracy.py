"""Accuracy of a package through its segment chain, the float network beside it on the same photos."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from edgedet_evaluation.answering import Answerer, as_photo, read_photos
from edgedet_evaluation.cifar10 import LabeledImages
from edgedet_evaluation.coco import CocoDataset
from edgedet_evaluation.intervals import (
    Estimate,
    bootstrap_interval,
    bootstrap_share,
    bootstrap_weights,
    paired_difference,
    proportion,
)
from edgedet_evaluation.labeled_folders import LabeledPhotos
from edgedet_evaluation.mean_average_precision import THRESHOLDS, DetectionScore, score_detections
from edgedet_runtime.answer import Answer
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.errors import TensorMismatch
from edgedet_runtime.manifest import Metric
from edgedet_runtime.package import Package
from edgedet_runtime.photo import Photo

from edgedet_compression.float_baseline import FloatNetwork
from edgedet_compression.progress import Progress, silent

FP32 = "fp32"
_QUANTIZED = {8: "int8", 4: "W4A4"}


@dataclass(frozen=True)
class Measured:
    """What is measured: a package, and with `baseline` the float network that it came from beside it."""

    package: Package
    command: str
    """What the figures' readers can run to see them again."""
    baseline: FloatNetwork | None = None
    progress: Progress = silent


MeasureAccuracy = Callable[[Measured], Sequence[Metric]]
"""Figures of a package on the photos that the function was made with, and of the float network beside it."""


def quantized_name(package: Package) -> str:
    """What figures of a package are called, beside those of its float network."""
    return _QUANTIZED[package.manifest.weight_bits]


def detection_metrics(dataset: CocoDataset, measured: Measured) -> list[Metric]:
    """mAP50 and mAP50-95 with bootstrap intervals over photos; the difference is paired."""
    category_ids = dataset.category_ids(measured.package.manifest.labels)
    photos = read_photos(photo.file for photo in dataset.photos)
    answers = _answers(measured, photos, len(dataset.photos))
    scores = {
        name: score_detections(dataset, [as_detections(answer) for answer in found], category_ids)
        for name, found in answers.items()
    }
    weights = bootstrap_weights(len(dataset.photos))
    cite = _citation(measured, dataset.name, dataset.sha256, len(dataset.photos))
    quantized = quantized_name(measured.package)
    found = {name: _with_replicates(score, weights) for name, score in scores.items()}
    metrics = []
    for index, figure in enumerate(("mAP50", "mAP50-95")):
        values = {name: parts[index] for name, parts in found.items()}
        metrics += [
            _metric(cite, f"{figure}, {name}", bootstrap_share(value, replicates))
            for name, (value, replicates) in values.items()
        ]
        if FP32 in values:
            value = values[quantized][0] - values[FP32][0]
            replicates = values[quantized][1] - values[FP32][1]
            metrics.append(_metric(cite, f"{figure}, {quantized} − {FP32}", bootstrap_interval(value, replicates)))
    return metrics


def classification_metrics(dataset: LabeledImages | LabeledPhotos, measured: Measured) -> list[Metric]:
    """Top-1 with Wilson's intervals; the difference with Tango's paired one."""
    photos = map(as_photo, dataset.images) if isinstance(dataset, LabeledImages) else read_photos(dataset.files)
    labels = np.asarray(dataset.labels)
    answers = _answers(measured, photos, len(labels))
    right = {name: np.array([best_class(answer) for answer in found]) == labels for name, found in answers.items()}
    cite = _citation(measured, dataset.name, dataset.sha256, len(labels))
    metrics = [_metric(cite, f"top-1, {name}", proportion(int(hits.sum()), len(hits))) for name, hits in right.items()]
    if FP32 in right:
        quantized = quantized_name(measured.package)
        difference = paired_difference(right[FP32], right[quantized])
        metrics.append(_metric(cite, f"top-1, {quantized} − {FP32}", difference))
    return metrics


def _answers(measured: Measured, photos: Iterable[Photo], count: int) -> dict[str, list[Answer]]:
    """Answers of every system, the float one first."""
    answerer = Answerer.load(measured.package)
    choices = THRESHOLDS if measured.package.manifest.task == "detect" else 1
    quantized = quantized_name(measured.package)
    answers: dict[str, list[Answer]] = {FP32: [], quantized: []} if measured.baseline else {quantized: []}
    advance = measured.progress("measuring accuracy", count)
    for photo in photos:
        if measured.baseline:
            answers[FP32].append(measured.baseline.answer(photo, answerer.chain.manifest.input, choices))
        answers[quantized].append(answerer(photo, choices))
        advance()
    return answers


def package_answers(package: Package, photos: Iterable[Photo], count: int, progress: Progress = silent) -> list[Answer]:
    """A package's answers to `count` photos: detections at the thresholds of mAP, or the best class."""
    return _answers(Measured(package, "", None, progress), photos, count)[quantized_name(package)]


def _with_replicates(
    score: DetectionScore, weights: npt.NDArray[np.int64]
) -> tuple[tuple[float, npt.NDArray[np.float64]], tuple[float, npt.NDArray[np.float64]]]:
    map50, map50_95 = score.resampled(weights)
    return (score.map50, map50), (score.map50_95, map50_95)


def _citation(measured: Measured, name: str, sha256: str, photos: int) -> Metric:
    """A figure without its name and value."""
    dataset = f"{name} (sha256 {sha256[:16]}…)"
    return Metric(name="", value=0.0, dataset=dataset, n=photos, command=measured.command)


def _metric(cite: Metric, name: str, estimate: Estimate) -> Metric:
    interval = (round(estimate.low, 4), round(estimate.high, 4))
    return cite.model_copy(update={"name": name, "value": round(estimate.value, 4), "interval": interval})


def as_detections(answer: Answer) -> Detections:
    """A detector's answer.

    Raises:
        TensorMismatch: it is a classifier's.
    """
    if not isinstance(answer, Detections):
        raise TensorMismatch("a classifier cannot be measured on boxes")
    return answer


def best_class(answer: Answer) -> int:
    """The first label of a classifier's answer.

    Raises:
        TensorMismatch: it is a detector's.
    """
    if not isinstance(answer, Classes):
        raise TensorMismatch("a detector cannot be measured on labels of whole photos")
    return int(answer.labels[0])
