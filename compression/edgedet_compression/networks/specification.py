"""A network as data: its family and what it is built from; with a state dict it loads without the original."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Specification:
    """`arguments` are plain JSON."""

    family: str
    arguments: Mapping[str, Any]


@runtime_checkable
class Specified(Protocol):
    """A network that can say its own specification."""

    def specification(self) -> Specification:
        """As it is now: channels that were taken out are not in it."""
