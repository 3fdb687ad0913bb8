"""A flash cell: which current it carries at which level."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edgedet_nvm.device.record import NotNegative, Record
from edgedet_nvm.errors import LevelsRefused, OutOfRange

_COLUMNS = ("level", "mean_na", "sigma_na")
_MOST_LEVELS, _MOST_NA = 256, 100_000


class Cell(Record):
    """A cell that holds one of `level_count` charges; levels count 0 … level_count - 1.

    Level 0 is the programmed state (no current but `off_na`), the highest level the erased one. Verify loops set
    *currents*, so levels are equally spaced in current, and those of a slice fill the cell's range. A cell that was
    measured has the levels that were measured: a slice takes the lowest of them.
    """

    level_count: Annotated[int, Field(ge=2, le=_MOST_LEVELS)]
    i_max_na: Annotated[float, Field(gt=0, le=_MOST_NA)]
    """Current of the highest level at the read condition, tt, 25 °C, in nA."""
    off_na: NotNegative = 0.0
    """Current of level 0, in nA."""
    read_v: Annotated[float, Field(gt=0, le=5)]
    """Drain voltage while reading, in V."""
    mean_na: tuple[NotNegative, ...] = ()
    """Measured mean current of every level, ascending, in nA; empty: equally spaced."""
    sigma_na: tuple[NotNegative, ...] = ()
    """Measured standard deviation of every level after programming, in nA."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.mean_na and self.off_na >= self.i_max_na / (self.level_count - 1):
            raise ValueError("off_na: must be less than the current of level 1")
        if self.mean_na and not len(self.mean_na) == len(self.sigma_na) == self.level_count:
            raise ValueError("mean_na and sigma_na: one value per level, or none")
        if np.any(np.diff(self.mean_na) <= 0):
            raise ValueError("mean_na: currents must rise from level to level")
        if self.mean_na and (self.off_na, self.i_max_na) != (self.mean_na[0], self.mean_na[-1]):
            raise ValueError("off_na and i_max_na: of measured levels, the first and the last of mean_na")
        return self

    @property
    def is_measured(self) -> bool:
        """Whether currents come out of a measurement instead of equal spacing."""
        return bool(self.mean_na)

    def level_na(self, top: int) -> float:
        """Current of one level in nA, of a slice with levels 0 … `top`: the current of `top` over `top`."""
        return (self.mean_na[top] if self.is_measured else self.i_max_na) / top

    def target_na(self, levels: NDArray[np.integer], top: int) -> NDArray[np.float64]:
        """Currents that the verify loop aims at, in nA, for levels 0 … `top` (same shape).

        Raises:
            OutOfRange: a level that the cell does not have.
        """
        if not 1 <= top < self.level_count:
            raise OutOfRange(
                f"top: {top} is no level of a cell with {self.level_count}; give 1…{self.level_count - 1}, by fewer "
                "slices.bits_per_cell or a higher cell.level_count (of a measured cell, its CSV's lines)"
            )
        if levels.size and not 0 <= int(levels.min()) <= int(levels.max()) <= top:
            raise OutOfRange(f"levels: {levels.min()}…{levels.max()} are not within 0…{top}")
        measured = np.asarray(self.mean_na)
        found_na: NDArray[np.float64] = (
            measured[levels] if self.is_measured else np.maximum(levels * self.level_na(top), self.off_na)
        )
        return found_na

    def full_shares(self, levels: NDArray[np.integer], top: int) -> NDArray[np.float64]:
        """Currents of levels 0 … `top` as shares of `i_max_na` (same shape); 0 at level 0, the off current left out."""
        return np.where(levels > 0, self.target_na(levels, top) / self.i_max_na, 0.0)


def measured_fields(file: Path) -> dict[str, Any]:
    """All fields of a measured cell but `read_v`, out of a CSV level (0, 1, 2, …), mean_na, sigma_na; a line a level.

    Raises:
        LevelsRefused: a hole, a duplicate, a current that does not rise, or no number; the message names the line.
    """
    try:
        rows = list(_measured_levels(file))
    except csv.Error as error:  # a line without an end
        raise LevelsRefused(f"{file}: is no CSV of levels: {error}") from error
    if not 2 <= len(rows) <= _MOST_LEVELS:
        raise LevelsRefused(f"{file}: a cell has 2…{_MOST_LEVELS} levels, here are {len(rows)}; one line for each")
    means, sigmas = (tuple(row[column] for row in rows) for column in (0, 1))
    return {
        "level_count": len(rows),
        "i_max_na": means[-1],
        "off_na": means[0],
        "mean_na": means,
        "sigma_na": sigmas,
    }


def _measured_levels(file: Path) -> Iterator[tuple[float, float]]:
    """Mean and sigma of level 0, 1, 2, … after checking each line against the one before."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # spreadsheets begin with a byte-order mark
    except OSError as error:
        raise LevelsRefused(
            f"{file}: cannot be read ({error.strerror}); cell.measured is a path from the preset's folder"
        ) from error
    except UnicodeDecodeError as error:
        raise LevelsRefused(f"{file}: {error}") from error
    reader = csv.DictReader(lines, restval="", skipinitialspace=True)
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise LevelsRefused(f"{file}, line 1: the columns must be {', '.join(_COLUMNS)}")
    before = -1.0
    for expected, row in enumerate(reader):
        where = f"{file}, line {reader.line_num}"
        if None in row:
            raise LevelsRefused(f"{where}: there are more than 3 values; give {', '.join(_COLUMNS)}")
        level, mean, sigma = (_number(where, name, row[name]) for name in _COLUMNS)
        if level != expected:
            fault = _misplaced(level, expected)
            raise LevelsRefused(f"{where}: level {level:g} {fault}; give every level once, in order")
        if mean > _MOST_NA:
            raise LevelsRefused(f"{where}: mean_na {mean:g} exceeds {_MOST_NA:,} nA, which no cell carries; correct it")
        if mean <= before:
            raise LevelsRefused(f"{where}: mean_na {mean:g} does not exceed the {before:g} of the level below; reorder")
        before = mean
        yield mean, sigma


def _misplaced(level: float, expected: int) -> str:
    if level % 1:
        return "is no whole number"
    if not expected:
        return "comes first; level 0 is missing"
    return "comes twice" if level < expected else f"follows level {expected - 1}; level {expected} is missing"


def _number(where: str, column: str, text: str) -> float:
    try:
        value = float("" if "_" in text else text)  # 3_01 is 301 in Python alone
    except ValueError:
        raise LevelsRefused(f"{where}: {column} {text[:40]!r} is not a number; fill it in") from None
    if not 0 <= value < float("inf"):
        raise LevelsRefused(f"{where}: {column} {text[:40]} must be finite and not negative; correct it")
    return value
