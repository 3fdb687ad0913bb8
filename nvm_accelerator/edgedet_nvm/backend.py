"""The backend `nvm`: segments compiled onto one simulated chip, run by ONNX Runtime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self

from edgedet_runtime.backend import Hardware, RunContext, RunResult, Tensor
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeRunner
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import TensorSpec
from edgedet_runtime.package import Package
from edgedet_runtime.quantized_graph import WITH_WEIGHTS, read_quantized_graph
from edgedet_runtime.segments import Segment
from onnx import TensorProto

from edgedet_nvm.chip_plans import chip_plans
from edgedet_nvm.compile import CompiledNetwork, compile_network
from edgedet_nvm.compile.network import exposed, noise_name
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.estimator import Estimate, estimate
from edgedet_nvm.layer_activity import LayerCounter
from edgedet_nvm.mapping import MappedLayer, map_network
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.sidecar import Sidecar


class NvmBackend:
    """Compiles the segments of one package, as its sidecar says, for one chip.

    Args:
        sidecar: of the package.
        chip: to run on.
        spent: is told what every run of a segment takes, where the preset has costs; from several threads at once.
    """

    name = "nvm"

    def __init__(self, sidecar: Sidecar, chip: Chip, spent: Callable[[Estimate], None] | None = None) -> None:
        self._sidecar = sidecar
        self._chip = chip
        self._spent = spent
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
        layers = segment_layers(segment, self._sidecar)
        compiled = compile_network(segment.model, chip_plans(layers, self._sidecar, self._chip))
        counters = None
        if self.hardware.has_costs:
            counters = [LayerCounter.of(mapped, self._chip.preset) for mapped in layers]
        seen = _seen_codes(segment, counters or ())
        watched = replace(
            with_noise_inputs(segment, compiled),
            model=exposed(compiled.model, dict.fromkeys((spec.name for spec in seen), TensorProto.UINT8)),
            outputs=(*segment.outputs, *seen),
        )
        session = OnnxRuntimeBackend().prepare(watched)
        names, tiles = [spec.name for spec in seen], self._sidecar.tiles
        return NvmRunner(session, segment, compiled.noise, self._chip, counters, names, tiles, self._spent)


def segment_layers(segment: Segment, sidecar: Sidecar) -> tuple[MappedLayer, ...]:
    """The segment's layers on arrays, the same for all chips."""
    graph = read_quantized_graph(segment.model)
    if not any(layer.op in WITH_WEIGHTS for layer in graph.layers):
        return ()
    return map_network(graph, sidecar.arrays).layers


def with_noise_inputs(segment: Segment, compiled: CompiledNetwork) -> Segment:
    """The compiled segment, which takes normal numbers behind its own inputs."""
    noise = (
        TensorSpec(name=noise_name(layer), shape=shape, dtype="float32") for layer, shape in compiled.noise.items()
    )
    return replace(segment, model=compiled.model, inputs=(*segment.inputs, *noise))


class NvmRunner:
    """One compiled segment."""

    def __init__(
        self,
        session: OnnxRuntimeRunner,
        segment: Segment,
        noise: Mapping[str, tuple[int, ...]],
        chip: Chip,
        counters: Sequence[LayerCounter] | None,
        seen: Sequence[str],
        tiles: int,
        spent: Callable[[Estimate], None] | None = None,
    ) -> None:
        self._session = session
        self._inputs = [spec.name for spec in segment.inputs]
        self._outputs = [spec.name for spec in segment.outputs]
        self._noise = noise
        self._chip = chip
        self._counters = counters
        self._seen = seen
        self._tiles = tiles
        self._spent = spent

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
        """Run the session; read noise is keyed by photo, layer and chip, so neither batch nor threads change it.

        Energy and time are counted from the codes that the layers on arrays saw; digital layers cost nothing here.
        """
        noise = network_noise(context.photo_key, self._chip.seed, self._noise)
        found = self._session.run([*tensors, *noise.values()], context).tensors
        outputs = found[: len(self._outputs)]
        if self._counters is None:
            return RunResult(outputs)
        codes = dict(zip([*self._inputs, *self._outputs, *self._seen], [*tensors, *found], strict=True))
        activities = [counter.count(codes[counter.mapped.layer.inputs[0].name]) for counter in self._counters]
        spent = estimate(activities, self._chip.preset, self._tiles)
        if self._spent is not None:
            self._spent(spent)
        return RunResult(outputs, spent.energy_uj.total, spent.time_ms)


def _seen_codes(segment: Segment, counters: Sequence[LayerCounter]) -> tuple[TensorSpec, ...]:
    """What layers on arrays read, as far as it does not cross the segment's ends."""
    known = {spec.name for spec in (*segment.inputs, *segment.outputs)}
    sources = {counter.mapped.layer.inputs[0].name: counter.mapped.layer.inputs[0].shape for counter in counters}
    return tuple(
        TensorSpec(name=name, shape=shape, dtype="uint8") for name, shape in sources.items() if name not in known
    )
