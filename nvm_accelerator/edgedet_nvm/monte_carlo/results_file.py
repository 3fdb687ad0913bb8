"""The results of a sweep as they come: one JSON line for each chip and condition, after a line on what is measured.

A line is written once its photos are all answered, so that a sweep that was cut off at any chip goes on behind it.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Self, TypeVar

from edgedet_runtime.manifest import Sha256
from pydantic import ValidationError

from edgedet_nvm.device.record import Record, Share
from edgedet_nvm.errors import ResultsRefused
from edgedet_nvm.monte_carlo.grid import Condition

_Kind = TypeVar("_Kind", bound=Record)
# What a digest that differs means.
_CONTENTS = {
    "digest": "package of that name",
    "preset_sha256": "preset of that name (was its file edited?)",
    "calibration_sha256": "set of calibration photos",
    "data_sha256": "set of photos",
}


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
    digital: Share
    """The figure (0…1) of the digital network on the same photos."""


class ChipResult(Record):
    """The figure (0…1) of one chip under one condition."""

    chip: int
    condition: Condition
    value: Share


class ResultsFile:
    """The file of a sweep: what it holds, and further lines."""

    def __init__(self, file: BinaryIO, header: Header, results: list[ChipResult]) -> None:
        self._file = file
        self.header = header
        self.results = results

    @classmethod
    @contextmanager
    def at_work(cls, path: Path, measured: Measured, digital: Callable[[], float]) -> Iterator[Self]:
        """Opens the file, or begins it with what `digital` measures, and keeps other sweeps from it meanwhile.

        Raises:
            ResultsRefused: the file is of another sweep, holds something else, or another process writes into it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ResultsRefused(
                    f"another sweep writes into {path}: wait until it ends, or give another --to"
                ) from error
            file.seek(0)
            content = file.read()
            if content:
                yield cls(file, *_read(path, file, content, measured))
                return
            header = Header(measured=measured, digital=digital())
            _append(file, header)
            yield cls(file, header, [])

    def add(self, result: ChipResult) -> None:
        """Write one more line."""
        _append(self._file, result)
        self.results.append(result)


def _read(path: Path, file: BinaryIO, content: bytes, measured: Measured) -> tuple[Header, list[ChipResult]]:
    """What a file holds; a last line that was cut off is taken away, once all others are known to be a sweep's."""
    lines = content.splitlines()
    header = _parsed(path, 1, lines[0], Header)
    _refuse_another(path, header.measured, measured)
    is_ended = content.endswith(b"\n")
    is_cut_off = not is_ended and len(lines) > 1 and not _is_result(lines[-1])
    whole = lines[1:-1] if is_cut_off else lines[1:]
    results = [_parsed(path, number, line, ChipResult) for number, line in enumerate(whole, 2)]
    if is_cut_off:
        file.truncate(len(content) - len(lines[-1]))
    elif not is_ended:
        file.write(b"\n")
    return header, results


def _refuse_another(path: Path, found: Measured, measured: Measured) -> None:
    different = [name for name, value in measured if getattr(found, name) != value]
    if different:
        field = different[0]
        if field in _CONTENTS:
            raise ResultsRefused(f"{path} holds a sweep of another {_CONTENTS[field]}; give another --to")
        raise ResultsRefused(
            f"{path} holds a sweep with another {field}, {getattr(found, field)!r} instead of "
            f"{getattr(measured, field)!r}; give another --to"
        )


def _append(file: BinaryIO, record: Record) -> None:
    file.write(record.model_dump_json().encode() + b"\n")
    file.flush()


def _is_result(line: bytes) -> bool:
    try:
        ChipResult.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _parsed(path: Path, number: int, line: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ResultsRefused(f"{path}: line {number} is not of a sweep's results; give another --to") from error
