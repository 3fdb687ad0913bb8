"""What the commands print to: answers, faults as one sentence, bars."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from edgedet_evaluation.errors import EvaluationFault
from edgedet_runtime.errors import RuntimeFault
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from edgedet_compression.errors import BuildRefused, CompressionFault, TrainingInterrupted
from edgedet_compression.progress import Advance, Progress

out = Console()
err = Console(stderr=True)
_SHOWN = 4
"""A training has a bar an epoch: the last ones stay in view."""


@contextmanager
def faults_told(interrupted: str = "nothing was changed") -> Iterator[None]:
    """Faults become one red sentence: exit code 2 for a wish that cannot be met, else 1; an interrupt is 130.

    `interrupted` says what an interrupt outside of a training leaves.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        _fail(f"this command needs {error.name}: pip install '.[compression]' in a clone of EdgeDet", 1)
    except TrainingInterrupted as stop:
        _fail(f"{stop}; the same command goes on from there", 130)
    except BuildRefused as fault:
        _fail(str(fault), 2)
    except (CompressionFault, EvaluationFault, RuntimeFault, OSError) as fault:
        _fail(str(fault), 1)
    except KeyboardInterrupt:
        _fail(f"stopped; {interrupted}", 130)


def _fail(message: str, code: int) -> NoReturn:
    err.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars on standard error, one for each step; where it is no terminal, a line for each step that is done."""
    if not err.is_terminal:
        yield _line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=err) as drawn:

        def begin(step: str, total: int) -> Advance:
            if total == 0:
                _say(step)
                return lambda _="": None
            for done in drawn.tasks:
                drawn.update(done.id, visible=done.id >= len(drawn.tasks) - _SHOWN)
            task = drawn.add_task(step, total=total)
            return lambda reached="": drawn.update(task, advance=1, description=_told(step, reached))

        yield begin


def _line(step: str, total: int) -> Advance:
    """For log files: nothing until the step is done."""
    began_s, done = time.monotonic(), 0
    if total == 0:
        _say(step)

    def advance(reached: str = "", /) -> None:
        nonlocal done
        done += 1
        if done == total:
            _say(f"{_told(step, reached)} ({time.monotonic() - began_s:.0f} s)")

    return advance


def _told(step: str, reached: str) -> str:
    return f"{step}: {reached}" if reached else step


def _say(line: str) -> None:
    err.print(line, highlight=False, markup=False, soft_wrap=True)
