"""Reads photos sorted into one folder per label: the plainest form of a classification data set."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedet_evaluation.errors import DataMismatch, DataMissing

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True, slots=True)
class LabeledPhotos:
    """Files and the indices of their labels."""

    name: str
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    sha256: str
    """Over every photo and its label's name, in this order."""


def read_labeled_folders(folder: Path, labels: Sequence[str]) -> LabeledPhotos:
    """Photos `folder/LABEL/*.jpg|jpeg|png` for every label of a package; hidden folders, of previews, are no labels.

    Raises:
        DataMissing: no photo below the folder.
        DataMismatch: a subfolder whose name is none of the labels, or that of two.
    """
    index = {label: place for place, label in enumerate(labels)}
    files = labeled_photos(folder)
    if not files:
        raise DataMissing(f"no photo LABEL/NAME.jpg or .png below {folder}")
    strange = sorted({path.parent.name for path in files} - index.keys())
    if strange:
        raise DataMismatch(
            f"{folder}/{strange[0]} is none of the labels: {', '.join(labels[:20])}: rename it, or correct them"
        )
    named = Counter(labels)
    if twice := sorted({path.parent.name for path in files if named[path.parent.name] > 1}):
        raise DataMismatch(f"{folder}/{twice[0]} may be of either of two labels: name them differently")
    total = hashlib.sha256()
    for path in files:
        for part in (os.fsencode(path.parent.name), path.read_bytes()):
            total.update(hashlib.sha256(part).digest())
    return LabeledPhotos(
        folder.resolve().name, tuple(files), tuple(index[path.parent.name] for path in files), total.hexdigest()
    )


def labeled_photos(folder: Path) -> list[Path]:
    """All photos `folder/LABEL/*.jpg|jpeg|png`, sorted; hidden files are none."""
    return [path for path in sorted(folder.glob("*/*")) if not path.parent.name.startswith(".") and is_photo(path)]


def is_photo(path: Path) -> bool:
    """By its name; hidden files are what systems keep beside photos (macOS: ._NAME.jpg)."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
