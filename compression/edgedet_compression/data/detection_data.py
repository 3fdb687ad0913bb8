"""A detection data set of a recipe: its splits, networks for it, tasks, scores, calibration inputs."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from edgedet_evaluation.answering import read_photos
from edgedet_evaluation.coco import CocoDataset, is_object, read_coco
from edgedet_evaluation.intervals import bootstrap_weights
from edgedet_evaluation.mean_average_precision import DetectionScore, score_detections
from edgedet_evaluation.voc import read_voc
from edgedet_runtime.manifest import InputSpec, Metric
from edgedet_runtime.package import Package
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import nn

from edgedet_compression.accuracy import Measured, as_detections, detection_metrics, package_answers
from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import decoded, load_boxed_photos
from edgedet_compression.data.score import ClassFigure, MeanPrecision
from edgedet_compression.data.shared_photos import refuse_shared_photos
from edgedet_compression.data.splits import hold_out
from edgedet_compression.distillation.teacher import Teacher
from edgedet_compression.distillation.teacher_heads import TeacherHeads
from edgedet_compression.errors import BuildRefused
from edgedet_compression.known_models import CalibrationSet
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.yolov3 import ANCHORS, TINY_ANCHORS, YOLOv3, YOLOv3Tiny
from edgedet_compression.photo_folder import read_inputs
from edgedet_compression.progress import Progress, silent
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.recipe import DataSettings
from edgedet_compression.recipe_stages import NetworkSettings, PruneWeightsStage, TrainStage
from edgedet_compression.sources import folder_sha256
from edgedet_compression.training.detection import DetectionTask, PreparedPhotos, score_network
from edgedet_compression.training.precision import dtype_of
from edgedet_compression.training.yolo_loss import YoloLoss

_COARSEST = 32
_YOLO = {"yolov3": (YOLOv3, len(ANCHORS)), "yolov3-tiny": (YOLOv3Tiny, len(TINY_ANCHORS))}
_CALIBRATION_PHOTOS = 64


@dataclass(frozen=True)
class DetectionData:
    """Opened by `settings`; splits are read when they are needed."""

    settings: DataSettings
    folder: Path
    progress: Progress = silent
    normalization = Normalization()

    @cached_property
    def _all_training(self) -> CocoDataset:
        return self._read(self.settings.train)

    @cached_property
    def _parts(self) -> tuple[CocoDataset, CocoDataset | None]:
        """Training and validation."""
        settings = self.settings
        if settings.validation:
            return self._all_training, self._read(settings.validation)
        if not settings.hold_out:
            return self._all_training, None
        kept, held = hold_out(len(self._all_training.photos), settings.hold_out, settings.seed)
        return _subset(self._all_training, kept), _subset(self._all_training, held)

    @cached_property
    def test(self) -> CocoDataset:
        """The test split."""
        return self._read(self.settings.test)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Of the network's classes: without settings, the categories that training photos have boxes of."""
        if self.settings.labels:
            return self.settings.labels
        boxed = _with_boxes(self._all_training)
        return tuple(name for number, name in self._all_training.categories if number in boxed)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of a network's input."""
        return 3, self.settings.size, self.settings.size

    @cached_property
    def fingerprint(self) -> str:
        """A hash over the photos and boxes of training and validation, and over labels that are not all categories."""
        validation = self._parts[1]
        fewer = not self.settings.labels and len(self.labels) < len(self._all_training.categories)
        photos = self._all_training.sha256 + (validation.sha256 if validation else "")
        return photos + (repr(self.labels) if fewer else "")

    @cached_property
    def test_fingerprint(self) -> str:
        """A hash over these and the test split."""
        return self.fingerprint + self.test.sha256

    def fresh(self, settings: NetworkSettings, seed: int) -> nn.Module:
        """A network for these labels and this size.

        Raises:
            BuildRefused: as `check` does.
        """
        self._check_network(settings)
        family, _ = _YOLO[settings.family]
        torch.manual_seed(seed)
        return family(len(self.labels), self.settings.size, settings.anchors)

    def check(self, stage: TrainStage | PruneWeightsStage) -> None:
        """Find out before the work whether the stage can learn these photos; they are not decoded for that.

        Raises:
            BuildRefused: the network's family is one of classifiers, or it has too many or too few anchors; or there
                are fewer photos than a batch holds, or none of those to validate on has a box.
        """
        if isinstance(stage, TrainStage) and stage.network is not None:
            self._check_network(stage.network)
        batch, count = stage.schedule.batch, sum(len(part.photos) for part in self._learned(stage))
        if batch > count:
            name = self._all_training.name
            raise BuildRefused(f"batch = {batch}: {name} has {count} photos to learn: give a smaller one")
        if self._parts[1] is not None and not stage.all_data:
            setting = "validation" if self.settings.validation else "hold_out (a larger one, or another seed)"
            self._check_boxes(self._parts[1], setting)

    def check_splits(self, *, test: bool) -> None:
        """Find out before the work whether splits share photos, and whether those of a test that is needed are whole.

        Raises:
            BuildRefused: a photo lies in two of them, a label has no box to learn from, or there is none to test on.
            SourceUnreadable: a photo to test on cannot be decoded.
        """
        learned, validation = self._parts
        splits = {"train": learned}
        if validation is not None:
            splits["validation" if self.settings.validation else "hold_out"] = validation
        if test:
            splits["test"] = self.test
        refuse_shared_photos({f"data.{name}": [photo.file for photo in split.photos] for name, split in splits.items()})
        self._check_labels()
        if test:
            self._check_boxes(self.test, "test")
            advance = self.progress(f"looking at {self.test.name}", len(self.test.photos))
            for photo in self.test.photos:
                decoded(photo.file)
                advance()

    def _check_labels(self) -> None:
        learned = self._parts[0]
        numbers, boxed = learned.category_ids(self.labels), _with_boxes(learned)
        without = [label for label, number in zip(self.labels, numbers, strict=True) if number not in boxed]
        if without:
            advice = "another seed or a smaller hold_out" if self.settings.hold_out else "put some there"
            raise BuildRefused(
                f"{learned.name} has no box of {', '.join(without)} to learn from: {advice}, or correct data.labels"
            )

    def _check_boxes(self, split: CocoDataset, setting: str) -> None:
        wanted = {*split.category_ids(self.labels)}
        if not any(is_object(box) and box["category_id"] in wanted for box in split.content["annotations"]):
            raise BuildRefused(f"data.{setting}: none of the {len(split.photos)} photos there has a box of the labels")

    def _check_network(self, settings: NetworkSettings) -> None:
        if settings.family not in _YOLO:
            raise BuildRefused(f"{settings.family} answers no boxes: for {self.settings.format} take yolov3(-tiny)")
        _, anchors = _YOLO[settings.family]
        if self.settings.size % _COARSEST:
            raise BuildRefused(f"data.size = {self.settings.size}: {settings.family} needs a multiple of {_COARSEST}")
        if settings.anchors and len(settings.anchors) != anchors:
            raise BuildRefused(f"network.anchors: {settings.family} needs {anchors}, smallest first")

    def task(
        self, stage: TrainStage | PruneWeightsStage, teacher: Teacher | None = None, first_epoch: int = 0
    ) -> DetectionTask:
        """What the stage learns, after trainings that have shown `first_epoch` epochs."""
        validation, size = self._parts[1], self.settings.size
        parts = self._learned(stage)
        photos = [photo for part in parts for photo in load_boxed_photos(part, self.labels, size, self.progress)]
        return DetectionTask(
            photos=photos,
            validation=None if stage.all_data or validation is None else self.validation_photos,
            batch_size=stage.schedule.batch,
            size=size,
            seed=stage.schedule.seed,
            augmentation=TypeAdapter(DetectionAugmentation).validate_python(stage.augmentation),
            epochs=stage.schedule.epochs,
            criterion=YoloLoss(label_smoothing=stage.schedule.label_smoothing),
            distill=_distillation(stage, teacher),
            first_epoch=first_epoch,
        )

    def _learned(self, stage: TrainStage | PruneWeightsStage) -> list[CocoDataset]:
        training, validation = self._parts
        return [training, validation] if stage.all_data and validation is not None else [training]

    @cached_property
    def _test_photos(self) -> PreparedPhotos:
        return PreparedPhotos.read(self.test, self.labels, self.settings.size)

    def score(self, network: nn.Module) -> list[MeanPrecision]:
        """mAP50 and mAP50-95 on the test split, which no choice is made on."""
        assert isinstance(network, DarknetModule)
        return self._scores(score_network(network, self._test_photos))

    def score_package(self, package: Package) -> list[MeanPrecision]:
        """The same of a package, through its segment chain."""
        photos = read_photos(photo.file for photo in self.test.photos)
        answers = package_answers(package, photos, len(self.test.photos), self.progress)
        found = [as_detections(answer) for answer in answers]
        return self._scores(score_detections(self.test, found, self.test.category_ids(self.labels)))

    def _scores(self, found: DetectionScore) -> list[MeanPrecision]:
        count, labels = len(self.test.photos), dict(self.test.categories)
        map50, map50_95 = found.resampled(bootstrap_weights(count))
        classes = {labels[each.category_id]: ClassFigure(each.ap50, each.boxes) for each in found.categories}
        return [
            MeanPrecision("mAP50", found.map50, map50, count, classes=classes),
            MeanPrecision("mAP50-95", found.map50_95, map50_95, count),
        ]

    def validate(self, network: nn.Module) -> dict[str, float]:
        """mAP50 on the validation split; empty where there is none."""
        assert isinstance(network, DarknetModule)
        if self._parts[1] is None:
            return {}
        return {"mAP50": score_network(network, self.validation_photos).map50}

    def input_spec(self, size: int | None) -> InputSpec:
        """What a package of such a network reads; a fourth, empty channel makes its first layer faster."""
        side = size or self.settings.size
        return InputSpec(name="image", height=side, width=side, channels=4, filter="area")

    def calibration(self, spec: InputSpec) -> CalibrationSet:
        """Training photos as the package reads them, by seed: a list may go through one label after the other."""
        training = self._parts[0]
        count = len(training.photos)
        few = count <= _CALIBRATION_PHOTOS
        chosen = np.arange(count) if few else hold_out(count, _CALIBRATION_PHOTOS, self.settings.seed)[1]
        files = [training.photos[place].file for place in chosen]
        name = f"{training.name}, {len(files)} photos, sha256 {folder_sha256(files)}"
        return CalibrationSet(read_inputs(files, spec), name)

    def accuracy(self, measured: Measured) -> list[Metric]:
        """Of a package, on the test split."""
        return detection_metrics(self.test, measured)

    @cached_property
    def validation_photos(self) -> PreparedPhotos:
        """The validation split as networks read it.

        Raises:
            BuildRefused: there is none.
        """
        validation = self._parts[1]
        if validation is None:
            raise BuildRefused("data: give validation (the name of a split) or hold_out (a number of photos)")
        return PreparedPhotos.read(validation, self.labels, self.settings.size)

    def some_test_photos(self, count: int) -> CocoDataset:
        """The first photos of the test split, to look at."""
        return _subset(self.test, np.arange(min(count, len(self.test.photos))))

    def _read(self, split: str) -> CocoDataset:
        name = f"{self.folder.name}/{split}"
        # The training split's names number the classes of all splits.
        labels = self.settings.labels if split == self.settings.train else self.labels
        if self.settings.format == "voc":
            return read_voc(self.folder, split, labels, name)
        found = read_coco(self.folder / "annotations" / f"instances_{split}.json", self.folder / split, name)
        missing = set(labels) - {label for _, label in found.categories}
        if missing:
            raise BuildRefused(f"{name} has no category {', '.join(sorted(missing))}: correct data.labels")
        return found


def _distillation(stage: TrainStage | PruneWeightsStage, teacher: Teacher | None) -> TeacherHeads | None:
    if teacher is None or stage.distillation is None:
        return None
    assert isinstance(teacher.network, DarknetModule)
    return TeacherHeads(teacher.network, stage.distillation.weight, dtype_of(stage.schedule.precision))


def _with_boxes(dataset: CocoDataset) -> set[int]:
    """Categories that occur, be it in crowds or difficult objects alone."""
    return {box["category_id"] for box in dataset.content["annotations"]}


def _subset(dataset: CocoDataset, places: NDArray[np.int64]) -> CocoDataset:
    """The photos at these places, and their boxes."""
    photos = tuple(dataset.photos[place] for place in places)
    ids = {photo.id for photo in photos}
    content = {
        **dataset.content,
        "images": [image for image in dataset.content["images"] if image["id"] in ids],
        "annotations": [item for item in dataset.content["annotations"] if item["image_id"] in ids],
    }
    return replace(dataset, photos=photos, content=content)
