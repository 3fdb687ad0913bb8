"""A detection data set of a recipe: networks for it, tasks, scores, calibration inputs."""

from functools import cached_property

import numpy as np
import torch
from edgedet_evaluation.answering import read_photos
from edgedet_evaluation.coco import CocoDataset
from edgedet_evaluation.intervals import bootstrap_weights
from edgedet_evaluation.mean_average_precision import DetectionScore, score_detections
from edgedet_runtime.manifest import InputSpec, Metric
from edgedet_runtime.package import Package
from pydantic import TypeAdapter
from torch import nn

from edgedet_compression.accuracy import Measured, as_detections, detection_metrics, package_answers
from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import load_boxed_photos
from edgedet_compression.data.detection_splits import DetectionSplits
from edgedet_compression.data.score import ClassFigure, MeanPrecision
from edgedet_compression.data.splits import hold_out
from edgedet_compression.distillation.teacher import Teacher
from edgedet_compression.distillation.teacher_heads import TeacherHeads
from edgedet_compression.errors import BuildRefused
from edgedet_compression.known_models import CalibrationSet
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.yolov3 import ANCHORS, TINY_ANCHORS, YOLOv3, YOLOv3Tiny
from edgedet_compression.photo_folder import read_inputs
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.recipe_stages import NetworkSettings, PruneWeightsStage, TrainStage
from edgedet_compression.sources import folder_sha256
from edgedet_compression.training.detection import DetectionTask, PreparedPhotos, score_network
from edgedet_compression.training.precision import dtype_of
from edgedet_compression.training.yolo_loss import YoloLoss

_COARSEST = 32
_YOLO = {"yolov3": (YOLOv3, len(ANCHORS)), "yolov3-tiny": (YOLOv3Tiny, len(TINY_ANCHORS))}
_CALIBRATION_PHOTOS = 64


class DetectionData(DetectionSplits):
    """What is done with the splits."""

    normalization = Normalization()

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
            name = self.all_training.name
            raise BuildRefused(f"batch = {batch}: {name} has {count} photos to learn: give a smaller one")
        if self.parts[1] is not None and not stage.all_data:
            setting = "validation" if self.settings.validation else "hold_out (a larger one, or another seed)"
            self._check_boxes(self.parts[1], setting)

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
        validation, size = self.parts[1], self.settings.size
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
        training, validation = self.parts
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
        if self.parts[1] is None:
            return {}
        return {"mAP50": score_network(network, self.validation_photos).map50}

    def input_spec(self, size: int | None) -> InputSpec:
        """What a package of such a network reads; a fourth, empty channel makes its first layer faster."""
        side = size or self.settings.size
        return InputSpec(name="image", height=side, width=side, channels=4, filter="area")

    def calibration(self, spec: InputSpec) -> CalibrationSet:
        """Training photos as the package reads them, by seed: a list may go through one label after the other."""
        training = self.parts[0]
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
        validation = self.parts[1]
        if validation is None:
            raise BuildRefused("data: give validation (the name of a split) or hold_out (a number of photos)")
        return PreparedPhotos.read(validation, self.labels, self.settings.size)


def _distillation(stage: TrainStage | PruneWeightsStage, teacher: Teacher | None) -> TeacherHeads | None:
    if teacher is None or stage.distillation is None:
        return None
    assert isinstance(teacher.network, DarknetModule)
    return TeacherHeads(teacher.network, stage.distillation.weight, dtype_of(stage.schedule.precision))
