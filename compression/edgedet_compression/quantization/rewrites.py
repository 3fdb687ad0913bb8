"""Rewrites of a float network that change its form and not its answer, so that integer kernels fit it.

Each rewrite edits a `FloatGraph` in place; `simplify` runs them all and then refuses what is left over.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet_compression.quantization.float_graph import FloatGraph, Node
from edgedet_compression.quantization.quantizable import refuse_unsupported, unsupported


def simplify(graph: FloatGraph) -> None:
    """Run all rewrites.

    Raises:
        GraphUnsupported: naming the first node that cannot be quantized, and what to do.
    """
    for rewrite in (
        explicit_padding,
        drop_idle_ceil_mode,
        remove_identities,
        drop_final_softmax,
        drop_layout_transposes,
        matmul_to_gemm,
        pooling_to_global,
        average_pool_to_conv,
        reshape_to_flatten,
        norm_into_gemm,
        norm_to_conv,
        pad_into_conv,
        leaky_behind_max_pool,
    ):
        rewrite(graph)
    graph.sort()
    graph.infer_shapes()
    refuse_unsupported(graph)


def remove_identities(graph: FloatGraph) -> None:
    """Identity and Dropout do nothing when a network answers."""
    for node in [node for node in graph.nodes if node.operator in {"Identity", "Dropout"}]:
        graph.remove(node)


def drop_final_softmax(graph: FloatGraph) -> None:
    """A classifier's package answers logits; the runtime takes the softmax."""
    for node in [node for node in graph.nodes if node.operator in {"Softmax", "LogSoftmax"}]:
        if node.output in graph.outputs:
            graph.remove(node)


def drop_layout_transposes(graph: FloatGraph) -> None:
    """A transpose to NCHW right behind an NHWC input, and one to NHWC right before an output, fall away."""
    first = graph.sole_consumer(graph.input)
    if first is not None and _permutes(first, (0, 3, 1, 2)):
        batch, height, width, channels = graph.shapes[graph.input]
        graph.remove(first)
        graph.shapes[graph.input] = (batch, channels, height, width)
    for node in [node for node in graph.nodes if node.output in graph.outputs and _permutes(node, (0, 2, 3, 1))]:
        graph.remove(node)


def _permutes(node: Node, order: tuple[int, ...]) -> bool:
    return node.operator == "Transpose" and node.integers("perm", ()) == order


def matmul_to_gemm(graph: FloatGraph) -> None:
    """MatMul by a constant, with or without an Add behind it, and any Gemm become Gemm with weights [out, in]."""
    for node in [node for node in graph.nodes if node.operator in {"MatMul", "Gemm"}]:
        if len(graph.shapes[node.inputs[0]]) != 2 or node.inputs[1] not in graph.constants:
            continue
        weight = graph.constant(node.inputs[1], node) * np.float32(node.number("alpha", 1.0))
        if not node.number("transB", 0):
            weight = weight.T
        bias = np.zeros(len(weight), np.float32)
        if len(node.inputs) > 2:
            bias = bias + graph.constant(node.inputs[2], node) * np.float32(node.number("beta", 1.0))
        follower = graph.sole_consumer(node.output)
        if node.operator == "MatMul" and follower is not None and follower.operator == "Add":
            other = next(name for name in follower.inputs if name != node.output)
            if other in graph.constants:
                bias = bias + graph.constant(other, follower)
                graph.remove(_with_first_input(follower, node.output))
        node.operator, node.attributes = "Gemm", {"transB": 1}
        node.inputs = [node.inputs[0], _store(graph, f"{node.name}_weight", weight)]
        node.inputs.append(_store(graph, f"{node.name}_bias", np.broadcast_to(bias.reshape(-1), len(weight))))


def _with_first_input(node: Node, name: str) -> Node:
    node.inputs.sort(key=lambda part: part != name)
    return node


def _store(graph: FloatGraph, stem: str, value: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    name = graph.fresh(stem)
    graph.constants[name] = np.ascontiguousarray(value, np.float32)
    return name


def pooling_to_global(graph: FloatGraph) -> None:
    """A mean over whole maps is a GlobalAveragePool; where it drops the axes, a Flatten follows."""
    for node in list(graph.nodes):
        shape = graph.shapes.get(node.inputs[0], ()) if node.inputs else ()
        if len(shape) != 4:
            continue
        if node.operator == "AveragePool" and node.integers("kernel_shape", ()) == shape[2:]:
            if not any(node.integers("pads", (0,))):
                node.operator, node.attributes = "GlobalAveragePool", {}
        elif node.operator == "ReduceMean" and len(node.inputs) > 1 and node.inputs[1] in graph.constants:
            axes = sorted(int(axis) % 4 for axis in graph.constants[node.inputs[1]].reshape(-1))
            if axes == [2, 3]:
                keeps = bool(node.number("keepdims", 1))
                node.operator, node.attributes, node.inputs = "GlobalAveragePool", {}, node.inputs[:1]
                if not keeps:
                    pooled = graph.fresh(f"{node.output}_pooled")
                    graph.nodes.append(Node("Flatten", f"{node.name}_flat", [pooled], node.outputs, {"axis": 1}))
                    node.outputs = [pooled]
    graph.sort()


def explicit_padding(graph: FloatGraph) -> None:
    """`auto_pad` leaves the padding to whoever runs the network; here it is written out (ONNX's own formula)."""
    for node in graph.nodes:
        automatic = str(node.attributes.pop("auto_pad", "NOTSET"))
        if automatic == "NOTSET":
            continue
        source = graph.shapes[node.inputs[0]][2:]
        kernel = node.integers("kernel_shape", ()) or graph.constant(node.inputs[1], node).shape[2:]
        strides = node.integers("strides", (1,) * len(kernel))
        dilations = node.integers("dilations", (1,) * len(kernel))
        totals = [
            0 if automatic == "VALID" else max(0, (-(-size // step) - 1) * step + (taps - 1) * spread + 1 - size)
            for size, taps, step, spread in zip(source, kernel, strides, dilations, strict=True)
        ]
        least, most = [total // 2 for total in totals], [-(-total // 2) for total in totals]
        node.attributes["pads"] = [*most, *least] if automatic == "SAME_LOWER" else [*least, *most]


def drop_idle_ceil_mode(graph: FloatGraph) -> None:
    """Where a pool's windows end at the edge, ceil_mode rounds nothing up."""
    for node in [node for node in graph.nodes if node.number("ceil_mode", 0)]:
        source = graph.shapes[node.inputs[0]][2:]
        kernel = node.integers("kernel_shape", ())
        strides = node.integers("strides", (1,) * len(kernel))
        dilations = node.integers("dilations", (1,) * len(kernel))
        pads = node.integers("pads", (0,) * 2 * len(kernel))
        padded = [size + sum(pads[axis :: len(kernel)]) for axis, size in enumerate(source)]
        windows = [(taps - 1) * spread + 1 for taps, spread in zip(kernel, dilations, strict=True)]
        if all((size - window) % step == 0 for size, window, step in zip(padded, windows, strides, strict=True)):
            del node.attributes["ceil_mode"]


def average_pool_to_conv(graph: FloatGraph) -> None:
    """An AveragePool is a convolution of each channel with equal weights; 1/k² is exact in int8."""
    for node in [node for node in graph.nodes if node.operator == "AveragePool"]:
        if any(node.integers("pads", (0,))) and not node.number("count_include_pad", 0):
            raise unsupported(node, "with padding that its averages leave out (count_include_pad=0)")
        if node.number("ceil_mode", 0):
            raise unsupported(node, "with ceil_mode")
        channels = graph.shapes[node.inputs[0]][1]
        kernel = node.integers("kernel_shape", ())
        weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
        attributes: dict[str, Any] = {
            key: node.attributes[key]
            for key in ("kernel_shape", "strides", "pads", "dilations")
            if key in node.attributes
        }
        node.operator, node.attributes = "Conv", {**attributes, "group": channels}
        node.inputs.append(_store(graph, f"{node.name}_weight", weight))


def reshape_to_flatten(graph: FloatGraph) -> None:
    """A Reshape or Squeeze of [1, C, H, W] to [1, C·H·W] is a Flatten."""
    for node in [node for node in graph.nodes if node.operator in {"Reshape", "Squeeze"}]:
        before, after = graph.shapes.get(node.inputs[0], ()), graph.shapes.get(node.output, ())
        if len(after) == 2 and before[:1] == after[:1] == (1,):
            node.operator, node.attributes, node.inputs = "Flatten", {"axis": 1}, node.inputs[:1]


def norm_into_gemm(graph: FloatGraph) -> None:
    """A BatchNorm right behind a fully connected layer goes into its weights, which ONNX Runtime leaves to us."""
    for node in [node for node in graph.nodes if node.operator == "BatchNormalization"]:
        layer = graph.producer(node.inputs[0])
        if layer is None or layer.operator != "Gemm" or graph.sole_consumer(layer.output) is not node:
            continue
        factor, shift = _norm_factors(graph, node)
        weight, bias = (graph.constant(name, layer).astype(np.float64) for name in layer.inputs[1:3])
        layer.inputs[1] = _store(graph, f"{node.name}_weight", (weight * factor[:, None]).astype(np.float32))
        layer.inputs[2] = _store(graph, f"{node.name}_bias", (bias * factor + shift).astype(np.float32))
        graph.remove(node)


def norm_to_conv(graph: FloatGraph) -> None:
    """A BatchNorm that no convolution could take up becomes a 1 x 1 convolution of each channel."""
    for node in [node for node in graph.nodes if node.operator == "BatchNormalization"]:
        if len(graph.shapes[node.inputs[0]]) != 4:
            raise unsupported(node, "except of maps, or right behind a fully connected layer")
        factor, shift = _norm_factors(graph, node)
        weight = _store(graph, f"{node.name}_weight", factor.reshape(-1, 1, 1, 1).astype(np.float32))
        bias = _store(graph, f"{node.name}_bias", shift.astype(np.float32))
        node.operator, node.attributes = "Conv", {"group": len(factor), "kernel_shape": [1, 1]}
        node.inputs, node.outputs = [node.inputs[0], weight, bias], node.outputs[:1]


def _norm_factors(graph: FloatGraph, node: Node) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a BatchNorm multiplies each channel by, and then adds."""
    scale, shift, mean, variance = (graph.constant(name, node).astype(np.float64) for name in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.number("epsilon", 1e-5))
    return factor, shift - mean * factor


def pad_into_conv(graph: FloatGraph) -> None:
    """Zeros around the image become the padding of the convolution that reads them."""
    for node in [node for node in graph.nodes if node.operator == "Pad"]:
        reader = graph.sole_consumer(node.output)
        constant = len(node.inputs) > 1 and node.inputs[1] in graph.constants
        if reader is None or reader.operator != "Conv" or not constant or _pad_value(graph, node):
            raise unsupported(node, "except zeros right before a Conv")
        top = [int(part) for part in graph.constants[node.inputs[1]]]
        if len(top) != 8 or any(top[index] for index in (0, 1, 4, 5)) or min(top) < 0:
            raise unsupported(node, "except of height and width")
        own = reader.integers("pads", (0, 0, 0, 0))
        reader.attributes["pads"] = [a + b for a, b in zip(own, (*top[2:4], *top[6:8]), strict=True)]
        graph.remove(node)


def _pad_value(graph: FloatGraph, node: Node) -> float:
    if node.attributes.get("mode", "constant") != "constant":
        return 1.0
    if len(node.inputs) < 3 or not node.inputs[2]:
        return 0.0
    return float(graph.constants[node.inputs[2]].reshape(()).astype(np.float64))


def leaky_behind_max_pool(graph: FloatGraph) -> None:
    """LeakyRelu (monotone, slope ≥ 0) and MaxPool change places: the same answer from a quarter of the work."""
    for node in [node for node in graph.nodes if node.operator == "LeakyRelu"]:
        pool = graph.sole_consumer(node.output)
        if pool is None or pool.operator != "MaxPool" or node.number("alpha", 0.01) < 0:
            continue
        raw_pool = graph.fresh(f"{pool.output}_raw")
        pool.inputs, node.inputs = [node.inputs[0]], [raw_pool]
        node.outputs, pool.outputs = [pool.output], [raw_pool]
    graph.sort()
