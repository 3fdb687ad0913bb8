"""How long-running steps tell how far they are: a bar per step, drawn by whoever called."""

from collections.abc import Callable

Advance = Callable[[], None]
"""One more is done."""
Progress = Callable[[str, int], Advance]
"""Begins a step: what it does, of how many."""


def silent(step: str, total: int) -> Advance:  # noqa: ARG001 - nothing is drawn
    """Progress that nobody watches."""
    return lambda: None
