"""The seam between the chain and what runs a segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from numpy.typing import NDArray

from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.segments import Segment

Tensor = NDArray[Any]
"""Uint8 codes, or float32 values of a network's output."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a noisy backend keys its random numbers by; digital backends ignore it."""

    photo_key: bytes = b""
    """blake2b of the input codes; made only for a backend with `uses_photo_key`."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A segment's output tensors, in the segment's order, and what simulated hardware would have spent."""

    tensors: tuple[Tensor, ...]
    simulated_energy_uj: float | None = None
    simulated_time_ms: float | None = None


class Runner(Protocol):
    """A prepared segment; `run` may be called from several threads at once."""

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
        """Run on the segment's inputs, in its order."""
        ...


class Backend(Protocol):
    """Prepares segments; registered by name at the entry point group ``edgedet.backends``."""

    name: str
    uses_photo_key: bool
    """Whether answers depend on the photo key; a digital backend's do not."""

    def prepare(self, segment: Segment) -> Runner:
        """Make a segment ready to run."""
        ...


def load_backend(name: str) -> Backend:
    """The backend registered as `name`.

    Raises:
        GraphUnsupported: no such backend is installed; the message lists those that are.
    """
    installed = entry_points(group="edgedet.backends")
    if name not in installed.names:
        known = ", ".join(sorted(installed.names))
        raise GraphUnsupported(f"backend: {name!r} is not installed; there are: {known}")
    factory: Any = installed[name].load()
    backend: Backend = factory()
    return backend
