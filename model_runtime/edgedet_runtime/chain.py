"""A package as a chain of prepared segments; weights live once, there is no fused twin."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet_runtime.backend import Hardware, RegisteredBackend, RunContext, Runner, RunResult, Tensor
from edgedet_runtime.errors import TensorMismatch
from edgedet_runtime.manifest import Manifest, TensorSpec
from edgedet_runtime.package import Package
from edgedet_runtime.segments import Segment, cut, load_network


@dataclass(frozen=True, slots=True)
class Stage:
    """A segment and what runs it; the segment's graph itself is not kept."""

    index: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runner: Runner


@dataclass(frozen=True, slots=True)
class Chain:
    """Segments 1…N, ready to run one by one."""

    manifest: Manifest
    backend_name: str
    uses_photo_key: bool
    hardware: Hardware | None
    stages: tuple[Stage, ...]

    @property
    def segment_count(self) -> int:
        """N."""
        return len(self.stages)

    def live_tensors(self, boundary: int) -> tuple[TensorSpec, ...]:
        """The tensors that boundary k carries: the input (k = 0), live tensors, or the outputs (k = N)."""
        if boundary == 0:
            return (self.manifest.input.tensor,)
        if boundary == self.segment_count:
            return self.manifest.outputs
        return self.manifest.boundaries[boundary - 1].tensors

    def run_segment(
        self, index: int, live: Mapping[str, Tensor], context: RunContext
    ) -> tuple[dict[str, Tensor], RunResult]:
        """Run segment `index` (1…N) on boundary index-1's live tensors; give boundary index's."""
        stage = self.stages[index - 1]
        result = stage.runner.run([live[spec.name] for spec in stage.inputs], context)
        known = {**live, **dict(zip((spec.name for spec in stage.outputs), result.tensors, strict=True))}
        return {spec.name: known[spec.name] for spec in self.live_tensors(index)}, result

    def run(self, live: Mapping[str, Tensor], start: int = 0, stop: int | None = None) -> dict[str, Tensor]:
        """Run from boundary `start` to boundary `stop` (default N)."""
        context = self.context(live) if start == 0 else RunContext()
        current = dict(live)
        for index in range(start + 1, (self.segment_count if stop is None else stop) + 1):
            current, _ = self.run_segment(index, current, context)
        return current

    def run_input(self, tensor: Tensor) -> dict[str, Tensor]:
        """The network's outputs for its input uint8 [1, height, width, channels]."""
        return self.run({self.manifest.input.name: tensor})

    def context(self, live: Mapping[str, Tensor]) -> RunContext:
        """The context of a request whose input tensor is in `live`; the key costs time, so only where it is used."""
        if not self.uses_photo_key:
            return RunContext()
        codes = np.ascontiguousarray(live[self.manifest.input.name])
        return RunContext(hashlib.blake2b(codes.tobytes(), digest_size=16).digest())

    def check(self, boundary: int, tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> None:
        """Compare names, dtypes and shapes with those of a boundary.

        Raises:
            TensorMismatch: naming the tensor and what was expected.
        """
        expected = [(spec.name, spec.dtype, spec.shape) for spec in self.live_tensors(boundary)]
        if list(tensors) != expected:
            raise TensorMismatch(f"tensors: boundary {boundary} carries {expected}, got {list(tensors)}")


def prepare_chain(package: Package, registered: RegisteredBackend, *, whole: bool = False) -> Chain:
    """Cut the package's network at its boundaries and prepare every segment; `whole`: one segment, where none leaves.

    Raises:
        GraphUnsupported: the graph has an operator or a form that cannot be cut or run.
        PackageRefused: the backend misses something beside the package.
    """
    backend = registered.for_package(package)
    segments = load_segments(package, whole=whole)
    stages = tuple(Stage(s.index, s.inputs, s.outputs, backend.prepare(s)) for s in segments)
    return Chain(package.manifest, backend.name, backend.uses_photo_key, backend.hardware, stages)


def load_segments(package: Package, *, whole: bool = False) -> tuple[Segment, ...]:
    """The package's network, cut at the boundaries of its manifest, or `whole`."""
    manifest = package.manifest
    boundaries = () if whole else manifest.boundaries
    model = load_network(package.path("model.onnx"))
    return cut(model, manifest.input, boundaries, manifest.outputs)
