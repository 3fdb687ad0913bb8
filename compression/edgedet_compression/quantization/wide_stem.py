"""Makes a thin first convolution wide: one with a stride of 2 computes the four pixels of each pooled square at once.

A first convolution of few channels keeps integer kernels waiting for memory. Where a 2 x 2 MaxPool of stride 2
follows, the convolution may as well compute its four pixels as four groups of channels, by a kernel one row and one
column larger (zeros fill it) and a stride of 2; the pool then takes the maximum over the groups. Every sum is the same,
and so is every code; ONNX Runtime takes half the time (the Transposes cancel against its own NHWC kernels).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgedet_compression.networks.graph_builder import as_model

# Above this many channels the kernels are busy enough, and the zeros cost more than they bring.
_MOST_CHANNELS = 32
_GROUPS = 4
_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass(frozen=True)
class _Stem:
    """The nodes in question, and the shape [1, channels, rows, columns] behind the pool."""

    conv: onnx.NodeProto
    pool_read: onnx.NodeProto
    pool: onnx.NodeProto
    pool_codes: onnx.NodeProto
    pooled: tuple[int, int, int, int]


def widen_stem(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a wide stem, or as it is where the form does not fit."""
    stem = _find(model.graph)
    if stem is None:
        return model
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.value_info[:]
    constants = {item.name: item for item in graph.initializer}
    names = [name for read in _reads(model.graph, stem.conv) for name in read.input]
    for name in names:
        constants[name].CopyFrom(numpy_helper.from_array(_repeated(numpy_helper.to_array(constants[name])), name))
    _, channels, rows, columns = stem.pooled
    tensor = stem.pool_codes.output[0]
    shapes = {"squares": [1, rows * columns, _GROUPS, channels], "map": [1, rows, columns, channels]}
    for part, shape in shapes.items():
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{tensor}_{part}_shape"))
    nodes = [node for old in model.graph.node for node in _replaced(old, stem, tensor)]
    del graph.node[:]
    graph.node.extend(nodes)
    return as_model(graph)


def _replaced(node: onnx.NodeProto, stem: _Stem, tensor: str) -> list[onnx.NodeProto]:
    if node is stem.conv:
        attributes: dict[str, Any] = {
            "kernel_shape": [size + 1 for size in _integers(node, "kernel_shape")],
            "strides": [2, 2],
            "pads": _integers(node, "pads"),
        }
        # What is not given keeps its default: no padding, the kernel's size out of the weights' shape.
        attributes = {name: value for name, value in attributes.items() if value}
        return [helper.make_node("Conv", list(node.input), list(node.output), name=node.name, **attributes)]
    if node is stem.pool_read:
        codes, *parameters = node.input
        squares = f"{tensor}_squares"
        read = helper.make_node("DequantizeLinear", [squares, *parameters], list(node.output), name=node.name)
        return [*_reshaped(codes, squares, f"{tensor}_squares_shape"), read]
    if node is stem.pool:
        window = [1, _GROUPS]
        return [helper.make_node("MaxPool", list(node.input), list(node.output), name=node.name,
                                 kernel_shape=window, strides=window)]  # fmt: skip
    if node is stem.pool_codes:
        best = f"{tensor}_best"
        quantized = helper.make_node("QuantizeLinear", list(node.input), [best], name=best)
        return [quantized, *_reshaped(best, tensor, f"{tensor}_map_shape")]
    return [node]


def _reshaped(source: str, target: str, shape: str) -> list[onnx.NodeProto]:
    """Codes seen in another NHWC shape: nothing moves in memory."""
    outer, inner = f"{target}_from_nhwc", f"{target}_nhwc"
    return [
        helper.make_node("Transpose", [source], [outer], name=outer, perm=_TO_NHWC),
        helper.make_node("Reshape", [outer, shape], [inner], name=inner),
        helper.make_node("Transpose", [inner], [target], name=target, perm=_TO_NCHW),
    ]


def _repeated(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Parameters once per group; weights [out, in, rows, columns] each at its own place of the larger kernel."""
    if value.ndim != 4:
        return np.tile(value, _GROUPS)
    out, channels, rows, columns = value.shape
    wide = np.zeros((2, 2, out, channels, rows + 1, columns + 1), value.dtype)
    for down in range(2):
        for across in range(2):
            wide[down, across, :, :, down : down + rows, across : across + columns] = value
    return wide.reshape(-1, *wide.shape[3:])


def _find(graph: onnx.GraphProto) -> _Stem | None:
    """The first convolution, if it is thin and followed by nothing but a 2 x 2 MaxPool of stride 2."""
    conv = next((node for node in graph.node if node.op_type == "Conv"), None)
    shapes = {info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in graph.value_info}
    if conv is None or not _is_plain(conv):
        return None
    chain = [conv]
    for operator in ("QuantizeLinear", "DequantizeLinear", "MaxPool", "QuantizeLinear"):
        readers = [node for node in graph.node if chain[-1].output[0] in node.input]
        if len(readers) != 1 or readers[0].op_type != operator:
            return None
        chain.append(readers[0])
    _, _, pool_read, pool, pool_codes = chain
    before, after = shapes[conv.output[0]], shapes[pool.output[0]]
    halved = before[2] == 2 * after[2] and before[3] == 2 * after[3]
    if _integers(pool, "kernel_shape") != [2, 2] or any(_integers(pool, "pads")) or not halved:
        return None
    if before[1] > _MOST_CHANNELS:
        return None
    _, channels, rows, columns = after
    return _Stem(conv, pool_read, pool, pool_codes, (1, channels, rows, columns))


def _is_plain(conv: onnx.NodeProto) -> bool:
    """Stride 1, one group, no dilation."""
    plain = all(step == 1 for name in ("strides", "dilations") for step in _integers(conv, name))
    group = next((item.i for item in conv.attribute if item.name == "group"), 1)
    return plain and group == 1


def _reads(graph: onnx.GraphProto, conv: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes that dequantize weights and bias."""
    return [node for node in graph.node if node.output[0] in conv.input[1:]]


def _integers(node: onnx.NodeProto, name: str) -> list[int]:
    return next((list(item.ints) for item in node.attribute if item.name == name), [])
