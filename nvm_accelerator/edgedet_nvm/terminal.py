"""What the commands print to: results, faults as one sentence, a bar; result files."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from edgedet_evaluation.errors import EvaluationFault
from edgedet_evaluation.intervals import Estimate
from edgedet_runtime.errors import RuntimeFault
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console(soft_wrap=True)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = 160  # whoever reads a pipe or a file wants whole figures
err = Console(stderr=True, soft_wrap=True, markup=False)


@contextmanager
def faults_told(interrupted: str = "nothing was written") -> Iterator[None]:
    """A user's mistake is told in one line, with exit code 1; an interrupt, and what it leaves, with 130."""
    try:
        yield
    except (RuntimeFault, EvaluationFault, ValueError, OSError) as error:
        _fail(f"{error}", 1, error)
    except KeyboardInterrupt as stop:
        _fail(f"stopped; {interrupted}", 130, stop)


@contextmanager
def bar(step: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error; what it gives counts one more as done."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=err) as drawn:
        task = drawn.add_task(step, total=total)
        yield lambda: drawn.advance(task)


def told(estimate: Estimate) -> str:
    """A figure and its interval, if it has one: of a single chip it is unbounded."""
    if not math.isfinite(estimate.low):
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} ({estimate.low:.4f} … {estimate.high:.4f})"


def refuse_unwritable(file: Path) -> None:
    """Told before the work whose results go into the file.

    Raises:
        ValueError: no file can be written there.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder: name a file in it")
    nearest = next(place for place in (file, *file.absolute().parents) if place.exists())
    if nearest != file and not nearest.is_dir():
        raise ValueError(f"{file} cannot be written: {nearest} is no folder")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"{file} cannot be written: no permission to write {nearest}")


def write(file: Path, content: bytes) -> None:
    """Write a file of results, and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    out.print(str(file), markup=False, highlight=False)


def _fail(message: str, code: int, cause: BaseException) -> NoReturn:
    err.print(message, style="red", highlight=False)
    raise typer.Exit(code) from cause
