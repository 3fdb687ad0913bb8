"""The splits of a detection data set: what is learned, validated and tested on."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from edgedet_evaluation.coco import CocoDataset, is_object, read_coco
from edgedet_evaluation.voc import read_voc
from numpy.typing import NDArray

from edgedet_compression.data.boxed_photos import decoded
from edgedet_compression.data.shared_photos import PhotoFiles, refuse_shared_splits
from edgedet_compression.data.splits import hold_out
from edgedet_compression.errors import BuildRefused
from edgedet_compression.progress import Progress, silent
from edgedet_compression.recipe import DataSettings


@dataclass(frozen=True)
class DetectionSplits:
    """Opened by `settings`; splits are read when they are needed."""

    settings: DataSettings
    folder: Path
    progress: Progress = silent

    @cached_property
    def all_training(self) -> CocoDataset:
        """What is held out of it among them."""
        return self._read(self.settings.train)

    @cached_property
    def parts(self) -> tuple[CocoDataset, CocoDataset | None]:
        """Training and validation."""
        settings = self.settings
        if settings.validation:
            return self.all_training, self._read(settings.validation)
        if not settings.hold_out:
            return self.all_training, None
        kept, held = hold_out(len(self.all_training.photos), settings.hold_out, settings.seed)
        return _subset(self.all_training, kept), _subset(self.all_training, held)

    @cached_property
    def test(self) -> CocoDataset:
        """The test split."""
        return self._read(self.settings.test)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Of the network's classes: without settings, the categories that training photos have boxes of."""
        if self.settings.labels:
            return self.settings.labels
        boxed = _with_boxes(self.all_training)
        return tuple(name for number, name in self.all_training.categories if number in boxed)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of a network's input."""
        return 3, self.settings.size, self.settings.size

    @cached_property
    def fingerprint(self) -> str:
        """A hash over the photos and boxes of training and validation, and over labels that are not all categories."""
        validation = self.parts[1]
        fewer = not self.settings.labels and len(self.labels) < len(self.all_training.categories)
        photos = self.all_training.sha256 + (validation.sha256 if validation else "")
        return photos + (repr(self.labels) if fewer else "")

    @cached_property
    def test_fingerprint(self) -> str:
        """A hash over these and the test split."""
        return self.fingerprint + self.test.sha256

    def some_test_photos(self, count: int) -> CocoDataset:
        """The first photos of the test split, to look at."""
        return _subset(self.test, np.arange(min(count, len(self.test.photos))))

    def check_splits(self, *, test: bool) -> None:
        """Find out before the work whether splits share photos, and whether those of a test that is needed are whole.

        Raises:
            BuildRefused: a photo lies in two of them, a label has no box to learn from, or there is none to test on.
            SourceUnreadable: a photo to test on cannot be decoded.
        """
        refuse_shared_splits(self, test=test)
        self._check_labels()
        if test:
            self._check_boxes(self.test, "test")
            advance = self.progress(f"looking at {self.test.name}", len(self.test.photos))
            for photo in self.test.photos:
                decoded(photo.file)
                advance()

    @cached_property
    def learned_files(self) -> PhotoFiles:
        """Of the training split, without what is held out."""
        return _files(self.parts[0])

    @cached_property
    def held_files(self) -> PhotoFiles:
        """Of what is validated on."""
        validation = self.parts[1]
        return _files(validation) if validation is not None else PhotoFiles([])

    @cached_property
    def test_files(self) -> PhotoFiles:
        """Of the test split."""
        return _files(self.test)

    def _check_labels(self) -> None:
        learned = self.parts[0]
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


def _files(dataset: CocoDataset) -> PhotoFiles:
    return PhotoFiles([photo.file for photo in dataset.photos])


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
