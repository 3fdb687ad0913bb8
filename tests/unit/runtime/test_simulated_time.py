"""A backend held back to the pace of its hardware; one without hardware has no pace."""

import logging
import time
from dataclasses import dataclass

import pytest
from edgedet_runtime.backend import Hardware, RunContext, RunResult, load_backend
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
from edgedet_runtime.segments import Segment
from edgedet_runtime.simulated_time import InSimulatedTime

GLASS = Hardware("glass", 1, has_costs=True)


@dataclass
class Hourglass:
    """A backend whose hardware always takes `time_ms`."""

    time_ms: float
    name: str = "hourglass"
    uses_photo_key: bool = True
    hardware: Hardware = GLASS

    def for_package(self, package: Package) -> "Hourglass":
        return self

    def prepare(self, segment: Segment) -> "Hourglass":
        return self

    def run(self, tensors: list[object], context: RunContext) -> RunResult:
        return RunResult(tuple(tensors), 3.0, self.time_ms)


@pytest.fixture
def segment(package: Package) -> Segment:
    manifest = package.manifest
    return Segment(1, None, (manifest.input.tensor,), manifest.outputs, 0)


def test_a_run_lasts_as_long_as_the_hardware_takes_and_tells_the_same(package: Package, segment: Segment):
    backend = InSimulatedTime(Hourglass(time_ms=40)).for_package(package)
    assert (backend.name, backend.uses_photo_key, backend.hardware) == ("hourglass", True, GLASS)
    start_s = time.monotonic()
    result = backend.prepare(segment).run([1, 2], RunContext())
    assert time.monotonic() - start_s >= 0.04
    assert result == RunResult((1, 2), 3.0, 40)


def test_a_host_that_is_slower_is_told_once(package: Package, segment: Segment, caplog: pytest.LogCaptureFixture):
    runner = InSimulatedTime(Hourglass(time_ms=0)).for_package(package).prepare(segment)
    with caplog.at_level(logging.WARNING):
        runner.run([], RunContext())
        runner.run([], RunContext())
    (line,) = caplog.messages
    assert f"{package.reference}, segment 1: the host takes" in line
    assert "the simulated array 0.00 ms: the host's time counts" in line


def test_a_backend_that_tells_no_time_is_refused(package: Package):
    for backend in (load_backend("onnxruntime"), load_backend("nvm", preset="ideal")):
        with pytest.raises(GraphUnsupported, match="tells no simulated time here; take nvm with a preset"):
            InSimulatedTime(backend).for_package(package)
