"""Chips one after the other in the same session, for Monte Carlo: a chip costs what drawing its cells does."""

from dataclasses import dataclass

from edgedet_runtime.backends.onnxruntime import OnnxRuntimeRunner
from edgedet_runtime.chain import Chain, Stage, load_segments, prepare_chain
from edgedet_runtime.package import Package

from edgedet_nvm.backend import NvmBackend, NvmRunner, segment_layers, with_noise_inputs
from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_plans import chip_plans
from edgedet_nvm.compile import CompiledNetwork, compile_network
from edgedet_nvm.compile.float_reads import cell_constants
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.spread import Spread
from edgedet_nvm.rewritable_session import RewritableSession
from edgedet_nvm.sidecar import Sidecar


@dataclass(frozen=True, slots=True)
class _Made:
    """What the chips of a series share."""

    noise: Spread | None
    compiled: CompiledNetwork
    session: RewritableSession


class ChipSeries:
    """A package on chips whose presets differ in nothing but their cells' errors."""

    def __init__(self, package: Package, sidecar: Sidecar) -> None:
        self._package = package
        self._sidecar = sidecar
        (self._segment,) = load_segments(package, whole=True)
        self._layers = segment_layers(self._segment, sidecar)
        self._made: _Made | None = None

    def chain(self, chip: Chip) -> Chain:
        """The package on a chip, answers without energy; it holds until the next chip is asked for."""
        backend = NvmBackend(self._sidecar, chip)
        plans = chip_plans(self._layers, self._sidecar, chip)
        if not plans or not all(_is_rewritable(plan) for plan in plans.values()):
            return prepare_chain(self._package, backend, whole=True)
        segment = self._segment
        cells = {name: values for plan in plans.values() for name, values in cell_constants(plan).items()}
        if self._made is None or self._made.noise != chip.preset.noise or self._made.session.constants != cells.keys():
            compiled = compile_network(segment.model, plans)
            self._made = _Made(chip.preset.noise, compiled, RewritableSession(compiled.model, cells))
        else:
            self._made.session.write(cells)
        compiled, kept = self._made.compiled, self._made.session
        session = OnnxRuntimeRunner(kept.session, with_noise_inputs(segment, compiled))
        runner = NvmRunner(session, segment, compiled.noise, chip, None, [], self._sidecar.tiles)
        stage = Stage(segment.index, segment.inputs, segment.outputs, runner)
        return Chain(self._package.manifest, backend.name, backend.uses_photo_key, backend.hardware, (stage,))


def _is_rewritable(plan: LayerPlan) -> bool:
    """Whether nothing but its cells distinguishes this chip's float32 graph from another chip's."""
    variance = plan.cells.read_variance
    varies_alike = variance is None or variance.ndim == 1
    return plan.cells.drop is None and varies_alike and not plan.is_digital and not plan.fits_int8
