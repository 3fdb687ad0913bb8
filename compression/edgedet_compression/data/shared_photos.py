"""Photos that lie in two splits: learned and then measured, they would tell nothing."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe import DataSettings


@dataclass(frozen=True)
class PhotoFiles:
    """Where the photos of a split lie, as its data set names them."""

    files: Sequence[Path]

    @cached_property
    def real(self) -> frozenset[Path]:
        """The same by whatever name: two recipes may spell one folder differently."""
        return frozenset(file.resolve() for file in self.files)


class Splits(Protocol):
    """The photos of a recipe's data set, by what they are for."""

    @property
    def settings(self) -> DataSettings:
        """That say which they are."""

    @property
    def learned_files(self) -> PhotoFiles:
        """Of the training split, without what is held out."""

    @property
    def held_files(self) -> PhotoFiles:
        """Of what is validated on."""

    @property
    def test_files(self) -> PhotoFiles:
        """Of the test split."""


def refuse_shared_photos(splits: Mapping[str, Iterable[Path]]) -> None:
    """Look for photos of equal bytes in different splits, by the settings that say which: data.train, data.test, ….

    Only files of equal length are read.

    Raises:
        BuildRefused: there is one; the message names both files.
    """
    by_length: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for setting, files in splits.items():
        for file in files:
            by_length[file.stat().st_size].append((setting, file))
    for candidates in by_length.values():
        if len({setting for setting, _ in candidates}) > 1:
            _refuse_equal(candidates)


def refuse_shared_splits(splits: Splits, *, test: bool) -> None:
    """The same of a recipe's splits; `test`: of that one, too.

    Raises:
        BuildRefused: as `refuse_shared_photos` does, naming the settings.
    """
    held = "validation" if splits.settings.validation else "hold_out"
    files = {"data.train": splits.learned_files.files, f"data.{held}": splits.held_files.files}
    if test:
        files["data.test"] = splits.test_files.files
    refuse_shared_photos(files)


def _refuse_equal(candidates: Iterable[tuple[str, Path]]) -> None:
    seen: dict[bytes, tuple[str, Path]] = {}
    for setting, file in candidates:
        first_setting, first = seen.setdefault(hashlib.sha256(file.read_bytes()).digest(), (setting, file))
        if setting != first_setting:
            raise BuildRefused(
                f"{first_setting} and {setting} share a photo, {first}"
                + (f" and {file}" if file != first else "")
                + ": photos that are learned or chosen by measure nothing; take it out of one of them"
            )
