"""How long-running steps tell how far they are: a bar per step, drawn by whoever called."""

from collections.abc import Callable
from typing import Protocol


class Advance(Protocol):
    """One more is done; the last call may say what the step has reached."""

    def __call__(self, reached: str = "", /) -> None:
        """Count it."""


Progress = Callable[[str, int], Advance]
"""Begins a step: what it does, of how many; of 0: a heading for the steps that follow."""


def silent(step: str, total: int) -> Advance:  # noqa: ARG001 - nothing is drawn
    """Progress that nobody watches."""
    return lambda _="": None
