"""The cell-by-cell oracle: every pulse, tile and plane read on its own, in numpy, slow and exact.

The compiled graphs must give its codes. Sums are taken in float64; every later step rounds to float32 as the graphs do.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.reference import compute_layer, saturated, sliding_windows
from edgedet_runtime.quantized_graph import read_quantized_graph
from numpy.typing import NDArray

from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.mapping import MappedLayer
from edgedet_nvm.shift_add import shift_add

Reads = NDArray[np.float32]
"""One number per conversion [pulses, tiles, planes, outputs, pixels]."""


@dataclass(frozen=True, slots=True)
class OracleRun:
    """Every tensor of the network by name, and how many conversions clipped by layer [pulses, planes]."""

    tensors: dict[str, Tensor]
    saturated: dict[str, NDArray[np.int64]]


def run_oracle(
    model: onnx.ModelProto,
    plans: Mapping[str, LayerPlan],
    tensors: Mapping[str, Tensor],
    noise: Mapping[str, NDArray[np.float32]],
) -> OracleRun:
    """Run a digital network with the planned layers, by name, on arrays.

    Args:
        model: the quantized network or segment.
        plans: layers in cells; the others are computed digitally.
        tensors: the model's inputs by name.
        noise: standard normal numbers [1, conversions · outputs, rows, columns] of every layer with read noise.
    """
    known = dict(tensors)
    clipped: dict[str, NDArray[np.int64]] = {}
    for layer in read_quantized_graph(model).layers:
        inputs = [known[codes.name] for codes in layer.inputs]
        plan = plans.get(layer.name)
        if plan is None:
            known[layer.output.name] = compute_layer(layer, inputs)
        else:
            known[layer.output.name], clipped[layer.name] = _run_layer(plan, inputs[0], noise.get(layer.name))
    return OracleRun(known, clipped)


def _run_layer(plan: LayerPlan, codes: Tensor, noise: NDArray[np.float32] | None) -> tuple[Tensor, NDArray[np.int64]]:
    taps = np.stack([pulse.of(_taps(plan.mapped, codes)) for pulse in plan.mapped.pulses]).astype(np.float64)
    reads = _currents(plan, taps)
    if noise is not None:
        reads = (reads + np.sqrt(_variances(plan, taps)) * noise.reshape(reads.shape)).astype(np.float32)
    converter = plan.converter
    if converter is None:
        return _finished(plan, reads), np.zeros((len(plan.mapped.pulses), len(plan.mapped.planes)), np.int64)
    gains = converter.gains[:, None, :, None, None]
    wide = np.rint(reads * gains)
    clipped = (wide < converter.lowest) | (wide > converter.highest)
    return _finished(plan, converter.convert(reads, gains)), clipped.sum(axis=(1, 3, 4))


def _taps(mapped: MappedLayer, codes: Tensor) -> NDArray[np.uint8]:
    """What stands on the word lines [groups, pixels, rows]; padding drives the code that means 0."""
    if mapped.layer.op == "Gemm":
        return codes.reshape(1, 1, -1)
    centered = sliding_windows(codes.astype(np.float64) - mapped.zero_point, mapped.layer)
    raw = (centered + mapped.zero_point).astype(np.uint8)
    channels, height, width = raw.shape[:3]
    by_group = raw.reshape(mapped.group, channels // mapped.group, height * width, -1)
    return by_group.transpose(0, 2, 1, 3).reshape(mapped.group, height * width, -1)


def _currents(plan: LayerPlan, taps: NDArray[np.float64]) -> Reads:
    """Levels from the column's reference, which stands at its zero-point current plus the converter's offset."""
    mapped, cells = plan.mapped, plan.cells
    reference = mapped.zero_currents(mapped.planes)
    if plan.converter is not None:
        reference = reference + plan.converter.offsets[:, None, :, None]
    reference = reference[..., None]
    if cells.drop is None:
        return (_column_sums(mapped, cells.difference, taps) - reference).astype(np.float32)
    positive = _dropped(_column_sums(mapped, cells.positive, taps), cells.drop[0])
    if cells.negative is None:
        return positive - reference.astype(np.float32)
    negative = _dropped(_column_sums(mapped, cells.negative, taps), cells.drop[1])
    return (positive - negative) - reference.astype(np.float32)


def _dropped(current: NDArray[np.float64], k: NDArray[np.float32]) -> Reads:
    single = current.astype(np.float32)
    left: Reads = single / (single * k[None, ..., None] + np.float32(1))
    return left


def _variances(plan: LayerPlan, taps: NDArray[np.float64]) -> Reads:
    """``Σ x²·σ²`` over a tile's rows; the sum of independent normal currents is normal."""
    variance = plan.cells.read_variance
    assert variance is not None
    if variance.ndim > 1:
        return _column_sums(plan.mapped, variance, taps**2).astype(np.float32)
    squares = _column_sums(plan.mapped, np.ones(plan.mapped.planes.shape), taps**2).astype(np.float32)
    return squares * variance.astype(np.float32)[:, None, None]


def _column_sums(
    mapped: MappedLayer, cells: NDArray[np.float32] | NDArray[np.float64], taps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``Σ_r x_r·g_r`` over the rows of each tile [pulses, tiles, planes, outputs, pixels]."""
    planes, outputs = cells.shape[:2]
    columns = cells.reshape(planes, mapped.group, outputs // mapped.group, -1)
    sums = np.empty((len(taps), mapped.tiles, planes, outputs, taps.shape[2]))
    for tile, held in enumerate(mapped.tile_cells.reshape(mapped.tiles, -1)):
        for plane in range(planes):
            read = taps[..., held] @ columns[plane][..., held].transpose(0, 2, 1)
            sums[:, tile, plane] = read.transpose(0, 1, 3, 2).reshape(len(taps), outputs, -1)
    return sums


def _finished(plan: LayerPlan, reads: Reads) -> Tensor:
    """Shift, add, requantize; sums of integers are exact in float64."""
    mapped, digital = plan.mapped, shift_add(plan.mapped, plan.converter)
    streams = reads.reshape(-1, mapped.outputs, reads.shape[-1]).astype(np.float64)
    total = np.tensordot(digital.factors.astype(np.float64), streams, axes=1) + digital.bias[:, None]
    value = total.astype(np.float32) * digital.multiplier[:, None]
    output = mapped.layer.output
    if not output.is_float:
        return np.minimum(saturated(value, output.zero_point), np.uint8(output.most)).reshape(output.shape)
    return (np.maximum(value, np.float32(0)) if mapped.layer.relu else value).reshape(output.shape)
