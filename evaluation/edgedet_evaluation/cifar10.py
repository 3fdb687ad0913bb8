"""Reads CIFAR-10: the official pickles, or mosaics of tiles as a compact form.

The official form is the folder `cifar-10-batches-py` (Krizhevsky 2009, "python version"): pickles `data_batch_1…5`
and `test_batch`. The compact form holds 1,000 images per lossless WebP, `train_00…49.webp` and `test_00…09.webp`,
as tiles of 32 x 32 pixels in 25 columns and 40 rows, filled row by row in the official order, beside
`train_labels.txt` and `test_labels.txt` (digits, white space ignored).
"""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgedet_evaluation.errors import DataMissing, DataUnreadable

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Split = Literal["train", "test"]

_BATCHES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{index}" for index in range(1, 6)),
    "test": ("test_batch",),
}
_MOSAICS: dict[Split, int] = {"train": 50, "test": 10}
_COLUMNS, _ROWS, _SIDE = 25, 40, 32
# What a pickled uint8 array is made of; nothing else may be called.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True, slots=True)
class LabeledImages:
    """Images uint8 [n, height, width, 3] RGB, or 1 gray, and their labels' indices int64 [n]."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """Over the pixels and then the labels (one byte each), in C order."""
        total = hashlib.sha256(np.ascontiguousarray(self.images).tobytes())
        total.update(self.labels.astype(np.uint8).tobytes())
        return total.hexdigest()


def read_cifar10(folder: Path, split: Split) -> LabeledImages:
    """All images of a split, in the official order.

    Raises:
        DataMissing: neither form is in the folder.
        DataUnreadable: a file of it is damaged or something else.
    """
    for place in (folder / "cifar-10-batches-py", folder):
        if (place / _BATCHES[split][0]).is_file():
            images, labels = _read_batches(place, split)
            break
    else:
        if not (folder / f"{split}_00.webp").is_file():
            raise DataMissing(f"no CIFAR-10 in {folder}: neither cifar-10-batches-py/ nor {split}_00.webp")
        images, labels = _read_mosaics(folder, split)
    if len(images) != len(labels) or not len(labels) or not 0 <= labels.min() <= labels.max() < len(LABELS):
        raise DataUnreadable(f"{folder}: {len(images)} {split} images, {len(labels)} labels 0…9 expected alike")
    return LabeledImages(f"CIFAR-10 {split}", images, labels)


def _read_batches(folder: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batches = [_unpickled(folder / name) for name in _BATCHES[split]]
    try:
        rows = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        labels = np.concatenate([np.asarray(batch[b"labels"], np.int64) for batch in batches])
        images = rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataUnreadable(f"{folder} holds other data than CIFAR-10's: {error}") from error
    return np.ascontiguousarray(images), labels


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays, lists and strings; a pickle that wants to call anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return super().find_class(module, name)


def _unpickled(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise DataMissing(f"no CIFAR-10 batch at {path}") from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError) as error:
        raise DataUnreadable(f"{path} is not a batch of CIFAR-10: {error}") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise DataUnreadable(f"{path} is not a batch of CIFAR-10: it lacks data or labels")
    return batch


def _read_mosaics(folder: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = np.concatenate([_tiles(folder / f"{split}_{index:02d}.webp") for index in range(_MOSAICS[split])])
    text = folder / f"{split}_labels.txt"
    if not text.is_file():
        raise DataMissing(f"no labels at {text}")
    try:
        digits = "".join(text.read_text(encoding="ascii").split())
        return images, np.array([int(digit) for digit in digits], np.int64)
    except ValueError as error:
        raise DataUnreadable(f"{text} must hold one digit an image: {error}") from error


def _tiles(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=("WEBP",)) as mosaic:
            pixels = np.asarray(mosaic.convert("RGB"))
    except FileNotFoundError as error:
        raise DataMissing(f"no mosaic at {path}") from error
    except OSError as error:
        raise DataUnreadable(f"{path} is not a WebP image: {error}") from error
    if pixels.shape != (_ROWS * _SIDE, _COLUMNS * _SIDE, 3):
        raise DataUnreadable(f"{path} has shape {pixels.shape}, a mosaic {(_ROWS * _SIDE, _COLUMNS * _SIDE, 3)}")
    grid = pixels.reshape(_ROWS, _SIDE, _COLUMNS, _SIDE, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid).reshape(-1, _SIDE, _SIDE, 3)
