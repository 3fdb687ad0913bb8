"""The oracle: every layer in plain numpy integers, slow, and equal to ONNX Runtime code for code.

Rounding follows ONNX Runtime: int32 sums, one float32 multiplication by ``s_x·s_w / s_y``, round half to even,
saturation to uint8. Sums are taken in float64, which is exact for them (below 2^53) whatever their order.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgedet_runtime.backend import Hardware, RunContext, RunResult, Tensor
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
from edgedet_runtime.quantized_graph import Codes, Layer, Weights, read_quantized_graph
from edgedet_runtime.segments import Segment


class ReferenceBackend:
    """Prepares a segment by reading its layers."""

    name = "reference"
    uses_photo_key = False
    hardware: Hardware | None = None

    def for_package(self, package: Package) -> Self:  # noqa: ARG002  (all packages alike)
        """This backend."""
        return self

    def prepare(self, segment: Segment) -> "ReferenceRunner":
        """Read the segment's layers; an operator without a rule raises `GraphUnsupported` here."""
        layers = read_quantized_graph(segment.model).layers
        for layer in layers:
            if layer.op not in _RULES:
                raise GraphUnsupported(f"layer {layer.name!r}: the reference backend has no rule for {layer.op}")
        return ReferenceRunner(layers, segment)


class ReferenceRunner:
    """Runs layers one after the other."""

    def __init__(self, layers: tuple[Layer, ...], segment: Segment) -> None:
        self._layers = layers
        self._segment = segment

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:  # noqa: ARG002  (digital: no key)
        """Compute every layer; `tensors` in the segment's order."""
        known: dict[str, Tensor] = {
            spec.name: tensor for spec, tensor in zip(self._segment.inputs, tensors, strict=True)
        }
        for layer in self._layers:
            known[layer.output.name] = compute_layer(layer, [known[codes.name] for codes in layer.inputs])
        return RunResult(tuple(known[spec.name] for spec in self._segment.outputs))


def compute_layer(layer: Layer, tensors: list[Tensor]) -> Tensor:
    """The layer's output for its inputs, in the layer's order."""
    made = _RULES[layer.op](layer, tensors)
    if layer.output.is_float:
        return made
    lowest = layer.output.zero_point if layer.relu else 0
    return np.clip(made, np.uint8(lowest), np.uint8(layer.output.most))


def sliding_windows(tensor: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    """Sliding windows [channels, rows, columns, kernel rows, kernel columns] of [1, channels, …], padded by 0."""
    attributes: dict[str, Any] = dict(layer.attributes)
    kernel = tuple(attributes.get("kernel_shape") or _weights(layer).codes.shape[2:])
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    stride_y, stride_x = attributes.get("strides", (1, 1))
    apart_y, apart_x = attributes.get("dilations", (1, 1))
    padded = np.pad(tensor[0], ((0, 0), (top, bottom), (left, right)))
    spans = ((kernel[0] - 1) * apart_y + 1, (kernel[1] - 1) * apart_x + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
    return windows[:, ::stride_y, ::stride_x, ::apart_y, ::apart_x]


def saturated(value: NDArray[np.float32], zero_point: int) -> NDArray[np.uint8]:
    """``clip(rint(value) + zero_point, 0, 255)``, half to even."""
    codes: NDArray[np.uint8] = np.clip(np.rint(value) + zero_point, 0, 255).astype(np.uint8)
    return codes


def _conv(layer: Layer, tensors: list[Tensor]) -> Tensor:
    weights = _weights(layer)
    group = int(layer.attributes.get("group", 1))
    windows = sliding_windows(_centered(tensors[0], layer.inputs[0]), layer)
    # [channels, rows, columns, kernel rows, kernel columns] → [group, positions, taps]
    channels, rows, columns = windows.shape[:3]
    by_channel = windows.reshape(group, channels // group, rows * columns, -1)
    taps = by_channel.transpose(0, 2, 1, 3).reshape(group, rows * columns, -1)
    kernel = weights.codes.reshape(group, len(weights.codes) // group, -1).astype(np.float64)
    sums = taps @ kernel.transpose(0, 2, 1)
    sums = sums.transpose(0, 2, 1).reshape(1, len(weights.codes), rows, columns)
    return _requantized(sums, layer, weights, channel_axis=1)


def _gemm(layer: Layer, tensors: list[Tensor]) -> Tensor:
    weights = _weights(layer)
    sums = _centered(tensors[0], layer.inputs[0]) @ weights.codes.T.astype(np.float64)
    return _requantized(sums, layer, weights, channel_axis=1)


def _requantized(sums: NDArray[np.float64], layer: Layer, weights: Weights, channel_axis: int) -> Tensor:
    """``clip(rint(f32(sum) · (s_x·s_w / s_y))) + z_y``, or ``f32(sum) · s_x·s_w`` for a float output."""
    shape = [1] * sums.ndim
    shape[channel_axis] = -1
    total = (sums + weights.bias.reshape(shape)).astype(np.int32).astype(np.float32)
    scale = np.float32(_scale(layer.inputs[0])) * weights.scales
    if layer.output.is_float:
        value = total * scale.reshape(shape)
        lowest = np.float32(0 if layer.relu else -np.inf)
        return np.asarray(np.maximum(value, lowest), np.float32)
    return saturated(total * (scale / _scale(layer.output)).reshape(shape), layer.output.zero_point)


def _max_pool(layer: Layer, tensors: list[Tensor]) -> Tensor:
    # Padding is the lowest code, which never wins over a real one.
    windows = sliding_windows(tensors[0].astype(np.float64), layer)
    best = np.asarray(windows.max(axis=(3, 4))[np.newaxis], np.uint8)
    return _recoded(best, layer.inputs[0], layer.output)


def _global_average_pool(layer: Layer, tensors: list[Tensor]) -> Tensor:
    pixels = int(np.prod(tensors[0].shape[2:]))
    sums = _centered(tensors[0], layer.inputs[0]).sum(axis=(2, 3), keepdims=True)
    scale = _scale(layer.inputs[0]) / (_scale(layer.output) * np.float32(pixels))
    return saturated(sums.astype(np.float32) * scale, layer.output.zero_point)


def _leaky_relu(layer: Layer, tensors: list[Tensor]) -> Tensor:
    slope = np.float32(layer.attributes.get("alpha", 0.01))
    return _by_table(
        tensors[0], layer.inputs[0], layer.output, lambda x: np.where(x >= 0, x, x * slope).astype(np.float32)
    )


def _sigmoid(layer: Layer, tensors: list[Tensor]) -> Tensor:
    def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(np.float32)

    return _by_table(tensors[0], layer.inputs[0], layer.output, sigmoid)


def _by_table(
    tensor: Tensor, source: Codes, target: Codes, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.uint8]:
    """A function of one code is a table of 256 codes."""
    values = _scale(source) * (np.arange(256, dtype=np.float32) - np.float32(source.zero_point))
    table = saturated(function(values) / _scale(target), target.zero_point)
    return np.asarray(table[tensor.astype(np.intp)], np.uint8)


def _add(layer: Layer, tensors: list[Tensor]) -> Tensor:
    """``fma(a, r_a, fma(b, r_b, z_y − (r_a·z_a + r_b·z_b)))`` with r = s / s_y; float64 holds each product exactly."""
    ratio_a, ratio_b = (np.float32(_scale(codes) / _scale(layer.output)) for codes in layer.inputs)
    zero_a, zero_b = (np.float32(codes.zero_point) for codes in layer.inputs)
    constant = np.float32(layer.output.zero_point) - (ratio_a * zero_a + ratio_b * zero_b)
    a, b = (tensor.astype(np.float64) for tensor in tensors)
    inner = (b * np.float64(ratio_b) + np.float64(constant)).astype(np.float32)
    value = (a * np.float64(ratio_a) + inner).astype(np.float32)
    return np.clip(np.rint(value), 0, 255).astype(np.uint8)


def _concat(layer: Layer, tensors: list[Tensor]) -> Tensor:
    parts = [_recoded(tensor, source, layer.output) for tensor, source in zip(tensors, layer.inputs, strict=True)]
    return np.concatenate(parts, axis=int(layer.attributes["axis"]))


def _recoded(tensor: Tensor, source: Codes, target: Codes) -> Tensor:
    """The same values in the codes of `target`, or as floats where it has none."""
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return tensor
    if target.is_float:
        return np.asarray(_scale(source) * (tensor.astype(np.float32) - np.float32(source.zero_point)), np.float32)
    return _by_table(tensor, source, target, lambda x: x)


def _resize(layer: Layer, tensors: list[Tensor]) -> Tensor:
    result = tensors[0]
    for axis, factor in enumerate(layer.attributes["scales"]):
        result = np.repeat(result, factor, axis=axis)
    return _recoded(result, layer.inputs[0], layer.output)


def _flatten(layer: Layer, tensors: list[Tensor]) -> Tensor:
    return _recoded(tensors[0].reshape(layer.output.shape), layer.inputs[0], layer.output)


def _as_it_is(layer: Layer, tensors: list[Tensor]) -> Tensor:  # noqa: ARG001  (the runner holds the codes)
    return tensors[0]


def _transpose(layer: Layer, tensors: list[Tensor]) -> Tensor:
    return np.ascontiguousarray(tensors[0].transpose(layer.attributes["perm"]))


_RULES: dict[str, Callable[[Layer, list[Tensor]], Tensor]] = {
    "Add": _add,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "LeakyRelu": _leaky_relu,
    "MaxPool": _max_pool,
    "Min": _as_it_is,
    "Reshape": _flatten,
    "Resize": _resize,
    "Sigmoid": _sigmoid,
    "Transpose": _transpose,
}


def _centered(tensor: Tensor, codes: Codes) -> NDArray[np.float64]:
    return tensor.astype(np.float64) - codes.zero_point


def _weights(layer: Layer) -> Weights:
    if layer.weights is None:
        raise GraphUnsupported(f"layer {layer.name!r} ({layer.op}): has no weights")
    return layer.weights


def _scale(codes: Codes) -> np.float32:
    if codes.scale is None:
        raise GraphUnsupported(f"tensor {codes.name!r} is not quantized")
    return codes.scale
