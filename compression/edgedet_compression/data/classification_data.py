"""A classification data set of a recipe: networks for it, tasks, scores, calibration inputs."""

from collections.abc import Callable

import numpy as np
import torch
from edgedet_evaluation.answering import as_photo
from edgedet_evaluation.cifar10 import LabeledImages
from edgedet_evaluation.errors import DataMismatch
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec, Metric
from edgedet_runtime.package import Package
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import nn

from edgedet_compression.accuracy import Measured, best_class, classification_metrics, package_answers
from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.classification_splits import ClassificationSplits
from edgedet_compression.data.labeled_images import (
    CIFAR10_NORMALIZATION,
    IMAGENET_NORMALIZATION,
    MNIST_NORMALIZATION,
    ImageSet,
)
from edgedet_compression.data.score import ClassFigure, ShareRight
from edgedet_compression.data.splits import hold_out
from edgedet_compression.distillation.kept_answers import KeptAnswers
from edgedet_compression.distillation.teacher import Teacher
from edgedet_compression.distillation.teacher_logits import TeacherLogits
from edgedet_compression.errors import BuildRefused
from edgedet_compression.known_models import CalibrationSet
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.resnet import resnet20, resnet32, resnet56
from edgedet_compression.networks.vgg import vgg16, vgg19
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.recipe_stages import NetworkSettings, PruneWeightsStage, TrainStage
from edgedet_compression.training.classification import ClassificationTask, predict
from edgedet_compression.training.precision import dtype_of

_FAMILIES: dict[str, Callable[[int, int], nn.Module]] = {
    "vgg16": vgg16,
    "vgg19": vgg19,
    "resnet20": lambda classes, _: resnet20(classes),
    "resnet32": lambda classes, _: resnet32(classes),
    "resnet56": lambda classes, _: resnet56(classes),
    "lenet": lambda classes, _: LeNet(classes=classes),
}
"""By the number of classes and the side of images."""
_CALIBRATION_IMAGES = 512


class ClassificationData(ClassificationSplits):
    """What is done with the splits."""

    @property
    def normalization(self) -> Normalization:
        """What the networks read: (pixel/255 - mean)/std."""
        if self.settings.normalization == "imagenet":
            return IMAGENET_NORMALIZATION
        known = {"cifar10": CIFAR10_NORMALIZATION, "mnist": MNIST_NORMALIZATION}
        return known.get(self.settings.format, IMAGENET_NORMALIZATION)

    def fresh(self, settings: NetworkSettings, seed: int) -> nn.Module:
        """A network for these classes.

        Raises:
            BuildRefused: the family is one of detectors, or reads other images.
        """
        self._check_family(settings.family)
        torch.manual_seed(seed)
        return _FAMILIES[settings.family](len(self.labels), self.image_shape[1])

    def check(self, stage: TrainStage | PruneWeightsStage) -> None:
        """Find out before the work whether the stage can learn these images.

        Raises:
            BuildRefused: the network's family is for others, or there are fewer than a batch holds, or it holds one.
        """
        if stage.schedule.batch == 1:
            raise BuildRefused("batch = 1: BatchNorm learns from what images differ in: give 2 or more")
        if isinstance(stage, TrainStage) and stage.network is not None:
            self.fresh(stage.network, stage.schedule.seed)
        self.task(stage)

    def _check_family(self, family: str) -> None:
        if family not in _FAMILIES:
            raise BuildRefused(f"{family} needs boxes: data.format coco or voc, not {self.settings.format}")
        channels, rows, columns = self.image_shape
        lenet = family == "lenet"
        fits = self.image_shape == (1, 28, 28) if lenet else channels == 3
        if not fits:
            needed = "gray images of 28 x 28 pixels" if lenet else "color images"
            given = f"{self.settings.format} gives {'gray' if channels == 1 else 'color'} ones of {rows} x {columns}"
            raise BuildRefused(f"network.family {family} needs {needed}, {given}: take another family")

    def task(
        self, stage: TrainStage | PruneWeightsStage, teacher: Teacher | None = None, first_epoch: int = 0
    ) -> ClassificationTask:
        """What the stage learns, after trainings that have shown `first_epoch` epochs."""
        learned, validation = self.parts
        return ClassificationTask(
            learned=self.everything if stage.all_data else learned,
            validation=None if stage.all_data else validation,
            normalization=self.normalization,
            batch_size=stage.schedule.batch,
            seed=stage.schedule.seed,
            augmentation=TypeAdapter(ImageAugmentation).validate_python(stage.augmentation),
            label_smoothing=stage.schedule.label_smoothing,
            distill=_distillation(stage, teacher, first_epoch),
            first_epoch=first_epoch,
            dtype=dtype_of(stage.schedule.precision),
        )

    def score(self, network: nn.Module) -> list[ShareRight]:
        """top-1 on the test split, which no choice is made on."""
        answers = predict(network, self.test, self.normalization)
        return self._scores(answers.numpy())

    def score_package(self, package: Package) -> list[ShareRight]:
        """The same of a package, through its segment chain."""
        self._refuse_other_size(package)
        photos = (as_photo(image) for image in _in_color(self.test))
        answers = package_answers(package, photos, len(self.test), self.progress)
        return self._scores(np.array([best_class(answer) for answer in answers]))

    def _scores(self, answers: NDArray[np.int64]) -> list[ShareRight]:
        labels = self.test.labels.numpy()
        right = answers == labels
        of_class = {label: right[labels == place] for place, label in enumerate(self.labels)}
        classes = {label: ClassFigure(float(hits.mean()), len(hits)) for label, hits in of_class.items() if len(hits)}
        return [ShareRight(right, classes)]

    def validate(self, network: nn.Module) -> dict[str, float]:
        """top-1 on the validation split; empty where there is none."""
        validation = self.parts[1]
        if validation is None:
            return {}
        found = predict(network, validation, self.normalization)
        return {"top1": float((found == validation.labels).double().mean())}

    def input_spec(self, size: int | None) -> InputSpec:
        """What a package of such a network reads; a fourth, empty channel makes its first layer faster."""
        channels, rows, columns = self.image_shape
        return InputSpec(
            name="image",
            height=size or rows,
            width=size or columns,
            channels=1 if channels == 1 else 4,
            resize="plain",
            filter="area",
        )

    def calibration(self, spec: InputSpec) -> CalibrationSet:
        """Training images as the package reads them."""
        learned = self.parts[0]
        chosen = hold_out(len(learned), min(_CALIBRATION_IMAGES, len(learned) - 1), self.settings.seed)[1]
        photos = [to_input(as_photo(image), spec)[0] for image in _in_color(learned.subset(chosen, learned.name))]
        return CalibrationSet(photos, f"{learned.name}, {len(chosen)} images, sha256 of all {self.fingerprint}")

    def accuracy(self, measured: Measured) -> list[Metric]:
        """Of a package, on the test split.

        Raises:
            DataMismatch: the package has other labels, the same in another order, or reads photos of another size.
        """
        test, package = self.test, measured.package
        self._refuse_other_size(package)
        if package.manifest.labels != self.labels:
            raise DataMismatch(
                f"{package.folder} has the labels {', '.join(package.manifest.labels[:20])}, {test.name} has "
                f"{', '.join(self.labels[:20])}: take the recipe that made the package"
            )
        return classification_metrics(LabeledImages(test.name, _in_color(test), test.labels.numpy()), measured)

    def _refuse_other_size(self, package: Package) -> None:
        """Photos as this data set holds them are not what an edge would shrink for another size."""
        reads, (_, rows, columns) = package.manifest.input, self.image_shape
        if (reads.height, reads.width) != (rows, columns):
            raise DataMismatch(
                f"{package.folder} reads {reads.height} x {reads.width} pixels, the recipe's data has "
                f"{rows} x {columns}: take the recipe that made the package"
            )


def _in_color(images: ImageSet) -> NDArray[np.uint8]:
    """uint8 [n, height, width, 3]; gray three times."""
    pixels: NDArray[np.uint8] = images.images.numpy()
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _distillation(
    stage: TrainStage | PruneWeightsStage, teacher: Teacher | None, first_epoch: int
) -> TeacherLogits | None:
    if teacher is None or stage.distillation is None:
        return None
    how = stage.distillation
    answers = KeptAnswers(teacher.answers) if how.views else None
    dtype = dtype_of(stage.schedule.precision)
    return TeacherLogits(teacher.network, how.temperature, how.weight, dtype, how.views, first_epoch, answers)
