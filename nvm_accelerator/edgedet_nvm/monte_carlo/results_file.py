"""The results of a sweep as they come: one JSON line for each chip and condition, after a line on what is measured.

A line is written once its photos are all answered, so that a sweep that was cut off anywhere goes on behind it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from edgedet_runtime.manifest import Sha256
from pydantic import ValidationError

from edgedet_nvm.device.record import Record
from edgedet_nvm.errors import ResultsRefused
from edgedet_nvm.monte_carlo.grid import Condition

_Kind = TypeVar("_Kind", bound=Record)


class Measured(Record):
    """What all lines of a file have in common."""

    schema_version: Literal[2] = 2
    """2: errors are drawn from a table of quantiles, so a seed is another chip than it was in 1."""
    package: str
    digest: Sha256
    preset: str
    preset_sha256: Sha256
    """Over all of its fields."""
    sigma_of: str
    """What a σ scale of 1 is."""
    calibration_sha256: Sha256
    """Over the network inputs that converters were calibrated on."""
    data: str
    data_sha256: Sha256
    photos: int
    figure: str


class Header(Record):
    """The first line."""

    measured: Measured
    digital: float
    """The figure (0…1) of the digital network on the same photos."""


class ChipResult(Record):
    """The figure (0…1) of one chip under one condition."""

    chip: int
    condition: Condition
    value: float


class ResultsFile:
    """Opens the file of a sweep, or begins it with what `digital` measures.

    Raises:
        ResultsRefused: the file is of another sweep, or holds something else.
    """

    def __init__(self, path: Path, measured: Measured, digital: Callable[[], float]) -> None:
        self.path = path
        self.results: list[ChipResult] = []
        lines = _whole_lines(path)
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.header = Header(measured=measured, digital=digital())
            self._append(self.header)
            return
        self.header = _parsed(path, 1, lines[0], Header)
        found = self.header.measured
        different = [name for name, value in measured if getattr(found, name) != value]
        if different:
            field = different[0]
            raise ResultsRefused(
                f"{path} holds a sweep with another {field}, {getattr(found, field)!r} instead of "
                f"{getattr(measured, field)!r}; give another --to"
            )
        self.results = [_parsed(path, number, line, ChipResult) for number, line in enumerate(lines[1:], 2)]

    def add(self, result: ChipResult) -> None:
        """Write one more line."""
        self._append(result)
        self.results.append(result)

    def _append(self, record: Record) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")


def _whole_lines(path: Path) -> list[bytes]:
    """The file's lines; one that was cut off is taken away from it."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    return whole.splitlines()


def _parsed(path: Path, number: int, line: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ResultsRefused(f"{path}: line {number} is not of a sweep's results; give another --to") from error
