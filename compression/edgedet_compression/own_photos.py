"""Photos of a user's own to measure on: a detector against boxes, a classifier on one folder per label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgedet_evaluation.answering import read_photos
from edgedet_evaluation.coco import read_coco
from edgedet_evaluation.labeled_folders import read_labeled_folders
from edgedet_evaluation.mean_average_precision import refuse_without_boxes
from edgedet_runtime.manifest import Task

from edgedet_compression.accuracy import MeasureAccuracy, classification_metrics, detection_metrics
from edgedet_compression.data.shared_photos import refuse_shared_photos
from edgedet_compression.errors import BuildRefused
from edgedet_compression.progress import Progress, silent


@dataclass(frozen=True)
class OwnPhotos:
    """What --photos and --annotations say."""

    folder: Path
    annotations: Path | None

    def options(self) -> list[str]:
        """As they are typed, with the files' names alone: where they lie is one machine's."""
        boxes = ["--annotations", self.annotations.name] if self.annotations else []
        return ["--photos", self.folder.resolve().name, *boxes]

    def read(self, task: Task, labels: Sequence[str]) -> tuple[list[Path], MeasureAccuracy]:
        """The photos, and what measures on them.

        Raises:
            BuildRefused: boxes are missing, or one option too many.
            EvaluationFault: a photo or a box is not there, or the labels are others.
        """
        if task == "detect":
            if self.annotations is None:
                raise BuildRefused("a detector is measured against boxes: give --annotations FILE (COCO's JSON)")
            boxed = read_coco(self.annotations, self.folder)
            refuse_without_boxes(boxed, boxed.category_ids(labels))
            return [photo.file for photo in boxed.photos], partial(detection_metrics, boxed)
        if self.annotations:
            raise BuildRefused("a classifier is measured on one folder per label: leave --annotations out")
        labeled = read_labeled_folders(self.folder, labels)
        return [*labeled.files], partial(classification_metrics, labeled)


def refuse_unfit(photos: Sequence[Path], calibration: Iterable[Path], progress: Progress = silent) -> None:
    """Find out before a build of minutes what measuring would be refused for after it.

    Raises:
        BuildRefused: a network would be measured on a photo that it was calibrated on.
        EvaluationFault: a photo cannot be decoded.
    """
    refuse_shared_photos({"--calibrate": calibration, "--photos": photos})
    advance = progress("looking at photos", len(photos))
    for _ in read_photos(photos):
        advance()


def own_photos(folder: Path | None, annotations: Path | None) -> OwnPhotos | None:
    """What the options say; none: nothing is to be measured.

    Raises:
        BuildRefused: boxes without photos.
    """
    if folder is None and annotations:
        raise BuildRefused("--annotations are the boxes of --photos: give --photos DIR, or leave both out")
    return OwnPhotos(folder, annotations) if folder else None
