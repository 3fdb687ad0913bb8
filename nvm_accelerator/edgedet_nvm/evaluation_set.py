"""What a package is measured on: photos with labels or boxes, and how answers are scored against them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from edgedet_evaluation.answering import as_photo, read_photos
from edgedet_evaluation.cifar10 import LABELS as CIFAR10_LABELS
from edgedet_evaluation.cifar10 import LabeledImages, Split, read_cifar10
from edgedet_evaluation.coco import CocoDataset, read_coco
from edgedet_evaluation.errors import DataMismatch, DataMissing
from edgedet_evaluation.intervals import (
    Estimate,
    bootstrap_interval,
    bootstrap_share,
    bootstrap_weights,
    paired_difference,
    proportion,
)
from edgedet_evaluation.labeled_folders import LabeledPhotos, is_photo, read_labeled_folders
from edgedet_evaluation.mean_average_precision import THRESHOLDS, DetectionScore, score_detections
from edgedet_evaluation.mnist import LABELS as MNIST_LABELS
from edgedet_evaluation.mnist import read_mnist
from edgedet_runtime.answer import Answer, Choices
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.package import Package
from edgedet_runtime.photo import Photo
from numpy.typing import NDArray

# Data sets that are known by a classifier's labels: folder below the data folder, and its reader.
_KNOWN: dict[tuple[str, ...], tuple[str, Callable[[Path, Split], LabeledImages]]] = {
    CIFAR10_LABELS: ("cifar10", read_cifar10),
    MNIST_LABELS: ("mnist", read_mnist),
}
_COCO = "coco-mini"
_CALIBRATION_PHOTOS = 64


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure (0…1) of the digital network and of a chip on the same photos; chip − digital is paired."""

    figure: str
    digital: Estimate
    chip: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True)
class LabeledSet:
    """Photos with one label each; the figure is top-1."""

    dataset: LabeledImages | LabeledPhotos
    places: NDArray[np.int64]
    """Which photos of the data set."""

    figure: ClassVar[str] = "top-1"
    choices: ClassVar[Choices] = 1

    def __len__(self) -> int:
        return len(self.places)

    def photos(self) -> Iterable[Photo]:
        """One at a time."""
        if isinstance(self.dataset, LabeledImages):
            return map(as_photo, self.dataset.images[self.places])
        return read_photos(self.dataset.files[place] for place in self.places)

    def value(self, answers: Sequence[Answer]) -> float:
        """Share of answers whose best class is right."""
        return float(self._right(answers).mean())

    def compare(self, digital: Sequence[Answer], chip: Sequence[Answer]) -> tuple[Comparison, ...]:
        """Top-1 with Wilson's intervals, the difference with Tango's paired one."""
        first, second = self._right(digital), self._right(chip)
        each = [proportion(int(right.sum()), len(right)) for right in (first, second)]
        return (Comparison(self.figure, each[0], each[1], paired_difference(first, second)),)

    def _right(self, answers: Sequence[Answer]) -> NDArray[np.bool_]:
        best = np.array([answer.labels[0] for answer in answers if isinstance(answer, Classes)])
        right: NDArray[np.bool_] = best == np.asarray(self.dataset.labels)[self.places]
        return right


@dataclass(frozen=True, slots=True)
class BoxSet:
    """Photos with boxes; the figure is mAP50, and mAP50-95 beside it."""

    dataset: CocoDataset
    category_ids: list[int]
    """Of the package's labels."""

    figure: ClassVar[str] = "mAP50"
    choices: ClassVar[Choices] = THRESHOLDS

    def __len__(self) -> int:
        return len(self.dataset.photos)

    def photos(self) -> Iterable[Photo]:
        """One at a time."""
        return read_photos(photo.file for photo in self.dataset.photos)

    def value(self, answers: Sequence[Answer]) -> float:
        """mAP50."""
        return self._score(answers).map50

    def compare(self, digital: Sequence[Answer], chip: Sequence[Answer]) -> tuple[Comparison, ...]:
        """mAP50 and mAP50-95 with bootstrap intervals over photos, the same resamples for both."""
        first, second = self._score(digital), self._score(chip)
        weights = bootstrap_weights(len(self))
        values = zip((first.map50, first.map50_95), (second.map50, second.map50_95), strict=True)
        resampled = zip(first.resampled(weights), second.resampled(weights), strict=True)
        return tuple(
            Comparison(
                figure,
                bootstrap_share(before, low),
                bootstrap_share(after, high),
                bootstrap_interval(after - before, high - low),
            )
            for figure, (before, after), (low, high) in zip((self.figure, "mAP50-95"), values, resampled, strict=True)
        )

    def _score(self, answers: Sequence[Answer]) -> DetectionScore:
        found = [answer for answer in answers if isinstance(answer, Detections)]
        return score_detections(self.dataset, found, self.category_ids)


EvaluationSet = LabeledSet | BoxSet


def known_set(package: Package, data: Path) -> EvaluationSet:
    """The test set of the data folder that the package's labels belong to: CIFAR-10, MNIST or COCO.

    Raises:
        DataMissing: it is not there.
        DataMismatch: no data set with these labels is known.
    """
    manifest = package.manifest
    if manifest.task == "detect":
        return _known_boxes(package, data, "--photos DIR and --annotations FILE (COCO's JSON)")
    return _labeled(_known_images(package, data, "test", "--photos DIR with one folder per label"))


def own_set(package: Package, photos: Path, annotations: Path | None) -> EvaluationSet:
    """A user's photos: of a classifier one folder per label, of a detector with `annotations` in COCO's JSON.

    Raises:
        DataMissing: no photos, or no annotations for a detector.
        DataMismatch: labels that the package does not have, or annotations for a classifier.
    """
    if package.manifest.task == "classify":
        if annotations is not None:
            raise DataMismatch(
                f"--annotations: {package.reference} is a classifier; give one folder of photos per label"
            )
        return _labeled(read_labeled_folders(photos, package.manifest.labels))
    if annotations is None:
        raise DataMissing("a detector is measured against boxes: give --annotations FILE (COCO's JSON)")
    return _boxes(package, read_coco(annotations, photos))


def limited(whole: EvaluationSet, limit: int | None) -> EvaluationSet:
    """At most `limit` photos, evenly spread: data sets are often sorted by label or by how hard they are."""
    if limit is None or limit >= len(whole):
        return whole
    places = np.arange(limit) * len(whole) // limit
    if isinstance(whole, LabeledSet):
        return replace(whole, places=whole.places[places])
    chosen = tuple(whole.dataset.photos[place] for place in places)
    return replace(whole, dataset=replace(whole.dataset, photos=chosen))


def known_calibration(package: Package, data: Path) -> Iterable[Photo]:
    """Photos of the training split of the package's data set, evenly spread.

    Raises:
        DataMissing, DataMismatch: as `known_set`.
    """
    own = "photos to calibrate on (compile: PHOTOS; evaluate and sweep: --calibrate DIR)"
    if package.manifest.task == "detect":
        _known_boxes(package, data, own)  # refuses labels that COCO's photos do not show
        return folder_photos(data / _COCO / "train2017")
    dataset = _known_images(package, data, "train", own)
    count = min(_CALIBRATION_PHOTOS, len(dataset))
    return map(as_photo, dataset.images[np.arange(count) * len(dataset) // count])


def folder_photos(folder: Path) -> Iterable[Photo]:
    """The photos directly in a folder, evenly spread if there are many.

    Raises:
        DataMissing: none.
    """
    files = sorted(filter(is_photo, folder.glob("*")))
    if not files:
        raise DataMissing(f"no .jpg or .png photo directly in {folder}")
    count = min(_CALIBRATION_PHOTOS, len(files))
    return read_photos(files[place * len(files) // count] for place in range(count))


def _known_boxes(package: Package, data: Path, instead: str) -> BoxSet:
    folder = data / _COCO
    annotations = folder / "annotations" / "instances_val2017.json"
    dataset = read_coco(annotations, folder / "val2017", f"{_COCO}/val2017")
    try:
        return _boxes(package, dataset)
    except DataMismatch as error:
        raise DataMismatch(f"{package.reference}: its labels are not COCO's; give {instead}") from error


def _known_images(package: Package, data: Path, split: Split, instead: str) -> LabeledImages:
    if package.manifest.labels not in _KNOWN:
        raise DataMismatch(f"{package.reference}: its labels are neither CIFAR-10's nor MNIST's; give {instead}")
    folder, read = _KNOWN[package.manifest.labels]
    return read(data / folder, split)


def _labeled(dataset: LabeledImages | LabeledPhotos) -> LabeledSet:
    return LabeledSet(dataset, np.arange(len(dataset.labels)))


def _boxes(package: Package, dataset: CocoDataset) -> BoxSet:
    return BoxSet(dataset, dataset.category_ids(package.manifest.labels))
