"""What the commands print to: answers, faults as one sentence, bars."""

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
def faults_told() -> Iterator[None]:
    """Faults become one red sentence: exit code 2 for a wish that cannot be met, else 1; an interrupt is 130."""
    try:
        yield
    except TrainingInterrupted as stop:
        _fail(f"{stop}; the same command goes on from there", 130)
    except BuildRefused as fault:
        _fail(str(fault), 2)
    except (CompressionFault, EvaluationFault, RuntimeFault, OSError) as fault:
        _fail(str(fault), 1)
    except KeyboardInterrupt:
        _fail("stopped; nothing was changed", 130)


def _fail(message: str, code: int) -> NoReturn:
    err.print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars on standard error, one for each step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=err) as drawn:

        def begin(step: str, total: int) -> Advance:
            for done in drawn.tasks:
                drawn.update(done.id, visible=done.id >= len(drawn.tasks) - _SHOWN)
            task = drawn.add_task(step, total=total)
            return lambda: drawn.advance(task)

        yield begin
