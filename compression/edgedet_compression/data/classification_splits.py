"""The splits of a classification data set: what is learned, validated and tested on."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from edgedet_evaluation.labeled_folders import labeled_photos

from edgedet_compression.data.labeled_images import ImageSet, read_cifar10, read_image_folder, read_mnist
from edgedet_compression.data.shared_photos import PhotoFiles, refuse_shared_splits
from edgedet_compression.data.splits import Indices, hold_out_by_label
from edgedet_compression.errors import BuildRefused
from edgedet_compression.progress import Progress, silent
from edgedet_compression.recipe import DataSettings


@dataclass(frozen=True)
class ClassificationSplits:
    """Opened by `settings`; splits are read when they are needed."""

    settings: DataSettings
    folder: Path
    progress: Progress = silent

    @cached_property
    def all_training(self) -> ImageSet:
        """What is held out of it among them."""
        return self._read(self.settings.train)

    @cached_property
    def parts(self) -> tuple[ImageSet, ImageSet | None]:
        """Training and validation."""
        settings, images = self.settings, self.all_training
        if settings.validation:
            return images, self._read(settings.validation)
        if not settings.hold_out:
            return images, None
        kept, held = self._held_out
        return images.subset(kept, f"{images.name}, learned"), images.subset(held, f"{images.name}, held out")

    @cached_property
    def _held_out(self) -> tuple[Indices, Indices]:
        """Places in the training split: of what is learned, and of what is held out.

        Raises:
            BuildRefused: nothing is left of a class.
        """
        labels, held = self.all_training.labels.numpy(), self.settings.hold_out
        parts = hold_out_by_label(labels, held, self.settings.seed)
        without = {*range(len(self.labels))} - {*labels[parts[0]].tolist()}
        if without:
            raise BuildRefused(
                f"data.hold_out = {held} takes all photos of {self.labels[min(without)]}: "
                "give a smaller one, or put more photos there"
            )
        return parts

    @property
    def everything(self) -> ImageSet:
        """What was held out as well."""
        learned, validation = self.parts
        if validation is None or not self.settings.validation:
            return self.all_training
        images, labels = (
            torch.cat(pair) for pair in ((learned.images, validation.images), (learned.labels, validation.labels))
        )
        return replace(learned, images=images, labels=labels)

    @cached_property
    def test(self) -> ImageSet:
        """The test split."""
        return self._read(self.settings.test)

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the network's classes."""
        return self.all_training.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of a network's input."""
        rows, columns, channels = self.all_training.images.shape[1:]
        return channels, rows, columns

    @cached_property
    def fingerprint(self) -> str:
        """A hash over the images, labels and classes of training and validation."""
        validation = [self.parts[1]] if self.settings.validation else []
        return _sha256(self.all_training, *validation)

    @cached_property
    def test_fingerprint(self) -> str:
        """A hash over these and the test split."""
        return self.fingerprint + _sha256(self.test)

    def check_splits(self, *, test: bool) -> None:
        """Find out before the work whether folders of photos share one; published data sets are as they are.

        Raises:
            BuildRefused: they do.
        """
        if self.settings.format == "folders":
            refuse_shared_splits(self, test=test)

    @cached_property
    def learned_files(self) -> PhotoFiles:
        """Of the training split, without what is held out."""
        whole = self._files(self.settings.train, self.all_training)
        held_out = self.settings.hold_out and not self.settings.validation
        return PhotoFiles([whole[place] for place in self._held_out[0]] if held_out else whole)

    @cached_property
    def held_files(self) -> PhotoFiles:
        """Of what is validated on."""
        validation = self.parts[1]
        if validation is None:
            return PhotoFiles([])
        if self.settings.validation:
            return PhotoFiles(self._files(self.settings.validation, validation))
        whole = self._files(self.settings.train, self.all_training)
        return PhotoFiles([whole[place] for place in self._held_out[1]])

    @cached_property
    def test_files(self) -> PhotoFiles:
        """Of the test split."""
        return PhotoFiles(self._files(self.settings.test, self.test))

    def _files(self, split: str, images: ImageSet) -> list[Path]:
        """In the order of the images; where these have no files of their own their numbers stand for them."""
        folder = self.folder / split
        if self.settings.format == "folders":
            return labeled_photos(folder)
        return [folder / str(number) for number in range(len(images))]

    def _read(self, split: str) -> ImageSet:
        if self.settings.format == "folders":
            # The training split's folders number the classes of all splits.
            first = split == self.settings.train
            classes = self.settings.labels or (None if first else self.all_training.classes)
            return read_image_folder(self.folder / split, self.settings.size, classes, self.progress, all_classes=first)
        if split not in {"train", "test"}:
            raise BuildRefused(f"{self.settings.format} has the splits train and test, not {split!r}")
        reader = read_cifar10 if self.settings.format == "cifar10" else read_mnist
        return reader(self.folder, "train" if split == "train" else "test")


def _sha256(*parts: ImageSet | None) -> str:
    total = hashlib.sha256()
    for part in parts:
        if part is not None:
            total.update(part.images.numpy().tobytes() + part.labels.numpy().tobytes() + repr(part.classes).encode())
    return total.hexdigest()
