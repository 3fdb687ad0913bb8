"""A cloud's load, as its replies tell it: in their parameters, or in the trailing metadata of errors."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

_KEY = "edgedet-load-"


@dataclass(frozen=True, slots=True)
class CloudLoad:
    """A cloud's load as of a reply."""

    backlog_ms: float
    """Work waiting and running, summed over the workers."""
    workers: int
    utilization: float
    mean_service_ms: float

    def to_metadata(self) -> tuple[tuple[str, str], ...]:
        """As trailing metadata."""
        return tuple((_metadata_key(field.name), str(getattr(self, field.name))) for field in fields(self))

    @classmethod
    def from_metadata(cls, metadata: Iterable[tuple[str, str | bytes]] | None) -> Self | None:
        """Out of trailing metadata; None when there is none of it."""
        found = {key: value for key, value in metadata or () if key.startswith(_KEY)}
        values = {field.name: found.get(_metadata_key(field.name)) for field in fields(cls)}
        return cls.of(values) if all(value is not None for value in values.values()) else None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Out of values by the fields' names.

        Raises:
            KeyError, TypeError, ValueError: one is missing, or no number that a load may have.
        """
        return cls(
            measure(values["backlog_ms"]),
            int(measure(values["workers"])),
            measure(values["utilization"]),
            measure(values["mean_service_ms"]),
        )


def measure(value: Any) -> float:
    """A number that averages may follow: a single NaN would stay in them.

    Raises:
        TypeError, ValueError: it is none, not finite, or negative.
    """
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{value!r} is not a finite number from 0 on")
    return number


def _metadata_key(name: str) -> str:
    return _KEY + name.replace("_", "-")
