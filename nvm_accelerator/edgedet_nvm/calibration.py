"""ADC ranges from calibration photos: what currents a layer's columns carry, and which step and offset to freeze."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.errors import GraphUnsupported
from numpy.typing import NDArray
from onnx import TensorProto
from pydantic import BaseModel, ConfigDict, Field

from edgedet_nvm.cells import LayerPlan, target_cells
from edgedet_nvm.compile.network import compile_float, current_name, exposed
from edgedet_nvm.converter import Converter, ReadRange
from edgedet_nvm.mapping import MappedLayer

Method = Literal["min-max", "p99.9", "mean-4-sigma", "mse"]
_BINS = 1 << 15
# Ranges that `mse` tries: 60 shares of the whole one, down to 1 in 50.
_SHARES = np.geomspace(1, 0.02, 60)


class AdcRanges(BaseModel):
    """Every layer's converter, as stored beside a network; frozen at calibration, the same for every chip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    photos: int = Field(gt=0, description="calibration photos")
    converters: dict[str, Converter] = Field(description="by layer")

    def of(self, layer: str) -> Converter:
        """A layer's converter.

        Raises:
            GraphUnsupported: the ranges are another network's.
        """
        if layer not in self.converters:
            raise GraphUnsupported(f"layer {layer!r}: has no ADC range; compile the package anew")
        return self.converters[layer]

    def saturation(self) -> dict[str, float]:
        """Share of conversions that clipped at calibration, by layer."""
        return {
            name: float(np.mean([read.saturated_share for pulse in converter.reads for read in pulse]))
            for name, converter in self.converters.items()
        }


def calibrate(
    model: onnx.ModelProto,
    layers: Sequence[MappedLayer],
    bits: int,
    method: Method,
    inputs: Iterable[Mapping[str, Tensor]],
) -> AdcRanges:
    """Find every layer's range on the ideal chip.

    Args:
        model: the quantized network or segment.
        layers: its mapped layers.
        bits: of the converter.
        method: how a range is chosen: all that was seen; its middle 99.9 %; mean ± 4 standard deviations; or the
            range with the least mean square error of the converted currents.
        inputs: the model's input tensors by name, photo by photo.

    Raises:
        ValueError: no photos.
    """
    plans = {mapped.name: LayerPlan(mapped, None, target_cells(mapped)) for mapped in layers}
    names = {current_name(name): TensorProto.FLOAT for name in plans}
    probe = exposed(compile_float(model, plans).model, names)
    session = ort.InferenceSession(probe.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    seen = {mapped.name: _Currents(mapped) for mapped in layers}
    photos = 0
    for feeds in inputs:
        photos += 1
        found = session.run(list(names), dict(feeds)) if names else []  # of no names it would give all outputs
        for name, currents in zip(plans, found, strict=True):
            seen[name].add(currents)
    if not photos:
        raise ValueError("calibration: no photos; give at least one")
    converters = {name: _converter(currents, bits, method) for name, currents in seen.items()}
    return AdcRanges(method=method, photos=photos, converters=converters)


class _Currents:
    """Histograms of a layer's currents, one per kind of read [pulses, planes]."""

    def __init__(self, mapped: MappedLayer) -> None:
        self.mapped = mapped
        bound = mapped.largest_current()
        self.width = max(1, -(-2 * bound // _BINS))
        self.lowest = -bound
        bins = 2 * bound // self.width + 1
        self.counts = np.zeros((len(mapped.pulses), len(mapped.planes), bins), np.int64)

    def add(self, currents: NDArray[np.float32]) -> None:
        """Count one photo's currents [1, conversions · outputs, rows, columns]."""
        pulses, planes, bins = self.counts.shape
        by_read = currents.reshape(pulses, self.mapped.tiles, planes, -1)
        places = (by_read.astype(np.int64) - self.lowest) // self.width
        for pulse in range(pulses):
            for plane in range(planes):
                self.counts[pulse, plane] += np.bincount(places[pulse, :, plane].reshape(-1), minlength=bins)

    def levels(self) -> NDArray[np.float64]:
        """The middle of every bin, in levels."""
        starts = self.lowest + self.width * np.arange(self.counts.shape[-1], dtype=np.float64)
        return starts + (self.width - 1) / 2


def _converter(currents: _Currents, bits: int, method: Method) -> Converter:
    """One step for the layer, that of its most significant read; the others' differ by powers of two, rounded up."""
    levels, counts = currents.levels(), currents.counts
    ranges = np.array([[_range(levels, plane, bits, method) for plane in pulse] for pulse in counts])
    wanted = np.maximum((ranges[..., 1] - ranges[..., 0]) / (2**bits - 1), 1.0)
    leading = np.unravel_index(np.abs(currents.mapped.read_factors).argmax(), wanted.shape)
    step = np.float32(wanted[leading])
    # A step that float32 rounds down would ask its own read for the next power of two.
    shifts = np.ceil(np.log2(wanted / float(step)) - 1e-6).astype(np.int64)
    steps = np.ldexp(float(step), shifts)
    offsets = np.rint(ranges.mean(axis=-1) + steps / 2).astype(np.int64)
    reads = tuple(
        tuple(
            ReadRange(
                shift=int(shifts[place]),
                offset=int(offsets[place]),
                saturated_share=_saturated_share(levels, counts[place], bits, steps[place], offsets[place]),
            )
            for place in ((pulse, plane) for plane in range(counts.shape[1]))
        )
        for pulse in range(counts.shape[0])
    )
    return Converter(bits=bits, step=float(step), reads=reads)


def _range(levels: NDArray[np.float64], counts: NDArray[np.int64], bits: int, method: Method) -> tuple[float, float]:
    seen = levels[counts > 0]
    lowest, highest = float(seen[0]), float(seen[-1])
    mean = float(np.average(levels, weights=counts))
    if method == "p99.9":
        share = np.cumsum(counts) / counts.sum()
        return float(levels[np.searchsorted(share, 0.0005)]), float(levels[np.searchsorted(share, 0.9995)])
    if method == "mean-4-sigma":
        reach = 4 * float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))
        return max(lowest, mean - reach), min(highest, mean + reach)
    if method == "mse":
        tried = [(mean + share * (lowest - mean), mean + share * (highest - mean)) for share in _SHARES]
        return min(tried, key=lambda ends: _square_error(levels, counts, bits, *ends))
    return lowest, highest


def _square_error(
    levels: NDArray[np.float64], counts: NDArray[np.int64], bits: int, lowest: float, highest: float
) -> float:
    step = max((highest - lowest) / (2**bits - 1), 1.0)
    offset = np.rint((lowest + highest + step) / 2)
    codes = _codes(levels, bits, step, offset)
    return float(counts @ (levels - offset - codes * step) ** 2)


def _codes(levels: NDArray[np.float64], bits: int, step: float, offset: float) -> NDArray[np.float64]:
    return np.clip(np.rint((levels - offset) / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _saturated_share(
    levels: NDArray[np.float64], counts: NDArray[np.int64], bits: int, step: float, offset: float
) -> float:
    clipped = np.abs(levels - offset - _codes(levels, bits, step, offset) * step) > step / 2 * (1 + 1e-9)
    return float(counts[clipped].sum() / counts.sum())
