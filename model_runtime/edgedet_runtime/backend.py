"""The seam between the chain and what runs a segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import signature
from typing import Any, Protocol

from numpy.typing import NDArray

from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
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


@dataclass(frozen=True, slots=True)
class Hardware:
    """The simulated hardware that a package runs on."""

    preset: str
    chip: int
    """Its seed."""
    has_costs: bool
    """Whether runs tell their energy and time."""


class Backend(Protocol):
    """Prepares the segments of a package."""

    name: str
    uses_photo_key: bool
    """Whether answers depend on the photo key; a digital backend's do not."""

    @property
    def hardware(self) -> Hardware | None:
        """None where none is simulated."""
        ...

    def prepare(self, segment: Segment) -> Runner:
        """Make a segment ready to run."""
        ...


class RegisteredBackend(Protocol):
    """What stands under a name at the entry point group ``edgedet.backends``."""

    name: str

    def for_package(self, package: Package) -> Backend:
        """The backend that prepares this package's segments; digital backends know no difference.

        Raises:
            PackageRefused: something is missing beside the package; other packages may do.
        """
        ...


def load_backend(name: str, **options: object) -> RegisteredBackend:
    """The backend registered as `name`, told its own `options`.

    Raises:
        GraphUnsupported: no such backend is installed, or it has no such option, and the message lists what there is;
            or a library that it needs is not installed.
    """
    installed = entry_points(group="edgedet.backends")
    if name not in installed.names:
        known = ", ".join(sorted(installed.names))
        raise GraphUnsupported(f"backend: {name!r} is not installed; there are: {known}")
    try:
        factory: Any = installed[name].load()
    except ModuleNotFoundError as error:
        raise GraphUnsupported(
            f"backend: {name!r} needs {error.name}; of ours, in a clone of EdgeDet: pip install '.[{name}]'"
        ) from error
    accepted = signature(factory).parameters
    for option in options:
        if option not in accepted:
            there_are = ", ".join(accepted) or "none"
            raise GraphUnsupported(f"backend: {name!r} has no option {option!r}; leave it out. There are: {there_are}")
    backend: RegisteredBackend = factory(**options)
    return backend
