"""A backend whose runs last as long as its simulated hardware would: whoever measures it measures the hardware."""

import logging
import time
from collections.abc import Sequence

from edgedet_runtime.backend import Backend, RegisteredBackend, RunContext, Runner, RunResult, Tensor
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
from edgedet_runtime.segments import Segment

log = logging.getLogger(__name__)


class InSimulatedTime:
    """Another registered backend, held back to the pace of its hardware."""

    def __init__(self, backend: RegisteredBackend) -> None:
        self.name = backend.name
        self._backend = backend

    def for_package(self, package: Package) -> "PacedBackend":
        """The package's backend, held back.

        Raises:
            GraphUnsupported: it simulates no hardware, or none that tells its time.
        """
        backend = self._backend.for_package(package)
        if backend.hardware is None or not backend.hardware.has_costs:
            raise GraphUnsupported(
                f"capacity: backend {self.name!r} tells no simulated time here; take nvm with a preset that "
                "has an ADC and costs"
            )
        return PacedBackend(backend, package.reference)


class PacedBackend:
    """Prepares segments whose runs take their simulated time, or the host's where the host is slower."""

    def __init__(self, backend: Backend, reference: str) -> None:
        self.name = backend.name
        self.uses_photo_key = backend.uses_photo_key
        self.hardware = backend.hardware
        self._backend = backend
        self._reference = reference

    def prepare(self, segment: Segment) -> "PacedRunner":
        """Make a segment ready to run."""
        return PacedRunner(self._backend.prepare(segment), f"{self._reference}, segment {segment.index}")


class PacedRunner:
    """One segment."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner = runner
        self._name = name
        self._told = False

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
        """Run, then wait for the rest of the simulated time; a host that is slower is told once."""
        start_s = time.monotonic()
        result = self._runner.run(tensors, context)
        host_ms = (time.monotonic() - start_s) * 1000.0
        left_ms = (result.simulated_time_ms or 0.0) - host_ms
        if left_ms > 0:
            time.sleep(left_ms / 1000.0)
        elif not self._told:
            self._told = True
            log.warning(
                "%s: the host takes %.2f ms, the simulated array %.2f ms: the host's time counts",
                self._name, host_ms, result.simulated_time_ms or 0.0,
            )  # fmt: skip
        return result
