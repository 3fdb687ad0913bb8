"""Labeled images as training reads them: one uint8 tensor of all, decoded once, and how networks see it normalized."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from edgedet_evaluation import cifar10, mnist
from edgedet_evaluation.labeled_folders import read_labeled_folders
from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import decode_photo
from numpy.typing import NDArray
from torch import Tensor

from edgedet_compression.data.splits import Indices
from edgedet_compression.errors import BuildRefused, SourceMissing, SourceUnreadable
from edgedet_compression.progress import Progress, silent
from edgedet_compression.quantization.input_stem import Normalization

CIFAR10_NORMALIZATION = Normalization((0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159))
"""Mean and standard deviation of each channel over the 50,000 training images."""
MNIST_NORMALIZATION = Normalization((0.1307,), (0.3081,))
"""The same over the 60,000 training images."""
IMAGENET_NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""For photos of all kinds; akamaster's CIFAR ResNets were trained with it, too."""


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [n, height, width, channels] RGB or gray; labels int64 [n], places in `classes`."""

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Indices, name: str) -> "ImageSet":
        """Some of the images, in the order of `indices`, under a name of their own."""
        chosen = torch.from_numpy(indices)
        return replace(self, name=name, images=self.images[chosen], labels=self.labels[chosen])


def read_cifar10(folder: Path, split: cifar10.Split) -> ImageSet:
    """CIFAR-10, images [n, 32, 32, 3].

    Raises:
        DataMissing, DataUnreadable: as `edgedet_evaluation.cifar10.read_cifar10` does, naming the file.
    """
    return _as_image_set(cifar10.read_cifar10(folder, split), cifar10.LABELS)


def read_mnist(folder: Path, split: cifar10.Split) -> ImageSet:
    """MNIST, images [n, 28, 28, 1].

    Raises:
        DataMissing, DataUnreadable: as `edgedet_evaluation.mnist.read_mnist` does, naming the file.
    """
    return _as_image_set(mnist.read_mnist(folder, split), mnist.LABELS)


def read_image_folder(
    folder: Path,
    size: int,
    classes: Sequence[str] | None = None,
    progress: Progress = silent,
    *,
    all_classes: bool = True,
) -> ImageSet:
    """Photos `folder/CLASS/*.jpg|jpeg|png`, brought to `size` x `size` pixels as the runtime would (plain, area).

    `classes` gives the order of the labels, and refuses folders of other names; without it all folders are classes, by
    name, but hidden ones. Every class needs a photo, unless `all_classes` is False: where nothing is learned.

    Raises:
        SourceMissing: no such folder, or no photo of a class.
        SourceUnreadable: a photo that cannot be decoded, by name.
        DataMissing, DataMismatch: no photo in it; a folder that is none of `classes`.
        BuildRefused: fewer than two classes.
    """
    if not folder.is_dir():
        raise SourceMissing(
            f"{folder} is no folder: it must hold one folder of photos for every class; correct data.folder, "
            "or data.train, data.validation or data.test below it"
        )
    visible = (entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    names = tuple(classes or sorted(visible))
    found = read_labeled_folders(folder, names)
    without = sorted(set(range(len(names))) - set(found.labels))
    if without and all_classes:
        raise SourceMissing(
            f"{folder / names[without[0]]} has no .jpg, .jpeg or .png photo: put some there, or remove the "
            "folder and the name in data.labels"
        )
    if len(names) < 2:
        raise BuildRefused(f"{folder} holds the class {names[0]} alone: a classifier needs two folders of photos")
    spec = InputSpec(name="image", height=size, width=size, channels=3, resize="plain", filter="area")
    others = sum(1 for _ in _visible_files(folder)) - len(found.files)
    passed_over = f"; other files passed over: {others}" if others else ""
    none = f", none of {', '.join(names[place] for place in without)}" if without else ""
    count = f"{len(found.files)} photos of {len(names)} classes{none}{passed_over}"
    advance = progress(f"reading {found.name}: {count}", len(found.files))
    images = np.empty((len(found.files), size, size, 3), np.uint8)
    for place, file in enumerate(found.files):
        images[place] = _decoded(file, spec)
        advance()
    return ImageSet(found.name, torch.from_numpy(images), torch.tensor(found.labels), names)


def _visible_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file


def _decoded(file: Path, spec: InputSpec) -> NDArray[np.uint8]:
    try:
        tensor, _ = to_input(decode_photo(file.read_bytes()), spec)
    except PhotoRefused as error:
        raise SourceUnreadable(f"{file}: {error}; replace it or take it away") from error
    except OSError as error:
        raise SourceUnreadable(f"{file}: {error.strerror}") from error
    return np.asarray(tensor[0], np.uint8)


def _as_image_set(found: cifar10.LabeledImages, classes: tuple[str, ...]) -> ImageSet:
    # A copy where numpy's array cannot be written to, which torch would complain about.
    images = torch.from_numpy(np.require(found.images, requirements=("C", "W")))
    return ImageSet(found.name, images, torch.from_numpy(found.labels), classes)
