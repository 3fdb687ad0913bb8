"""The backend `nvm`: segments compiled onto one simulated chip, run by ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from edgedet_runtime.backend import Hardware, RunContext, RunResult, Tensor
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeRunner
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import TensorSpec
from edgedet_runtime.package import Package
from edgedet_runtime.quantized_graph import WITH_WEIGHTS, read_quantized_graph
from edgedet_runtime.segments import Segment

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.compile import CompiledNetwork, compile_network
from edgedet_nvm.compile.network import noise_name
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.mapping import map_network
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.sidecar import Sidecar


class NvmBackend:
    """Compiles the segments of one package, as its sidecar says, for one chip."""

    name = "nvm"

    def __init__(self, sidecar: Sidecar, chip: Chip) -> None:
        self._sidecar = sidecar
        self._chip = chip
        self.uses_photo_key = chip.preset.noise is not None
        preset = chip.preset
        has_costs = preset.costs is not None and preset.adc is not None
        self.hardware = Hardware(preset.name, chip.seed, has_costs)

    def for_package(self, package: Package) -> Self:
        """This backend, which is of one package.

        Raises:
            PackageRefused: it is another one.
        """
        if package.digest != self._sidecar.digest:
            raise PackageRefused(f"{package.reference}: is not {self._sidecar.compiled_from}, which the sidecar is of")
        return self

    def prepare(self, segment: Segment) -> "NvmRunner":
        """Compile the segment and load it; a segment alone gives the codes that it gives in the whole network.

        Raises:
            GraphUnsupported: a layer that the sidecar knows no range for, or that ONNX Runtime cannot load.
        """
        compiled = self.compile(segment)
        noise = tuple(
            TensorSpec(name=noise_name(layer), shape=shape, dtype="float32") for layer, shape in compiled.noise.items()
        )
        inputs = (*segment.inputs, *noise)
        session = OnnxRuntimeBackend().prepare(replace(segment, model=compiled.model, inputs=inputs))
        return NvmRunner(session, compiled, self._chip.seed)

    def compile(self, segment: Segment) -> CompiledNetwork:
        """The segment's graph for this chip."""
        graph = read_quantized_graph(segment.model)
        if not any(layer.op in WITH_WEIGHTS for layer in graph.layers):
            return compile_network(segment.model, {})
        mapping = map_network(graph, self._sidecar.arrays)
        plans = {}
        for mapped in mapping.layers:
            converter = None if self._sidecar.ranges is None else self._sidecar.ranges.of(mapped.name)
            cells = chip_cells(mapped, self._chip, self._sidecar.columns)
            plans[mapped.name] = LayerPlan(mapped, converter, cells)
        return compile_network(segment.model, plans)


class NvmRunner:
    """One compiled segment."""

    def __init__(self, session: OnnxRuntimeRunner, compiled: CompiledNetwork, chip: int) -> None:
        self._session = session
        self._noise = compiled.noise
        self._chip = chip

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
        """Run the session; read noise is keyed by photo, layer and chip, so neither batch nor threads change it."""
        noise = network_noise(context.photo_key, self._chip, self._noise)
        return self._session.run([*tensors, *noise.values()], context)
