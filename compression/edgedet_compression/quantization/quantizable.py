"""The operators that integer kernels fit, and the refusal of all others."""

from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.quantization.float_graph import FloatGraph, Node
from edgedet_compression.quantization.pixel_repetition import repeats_pixels

# What can be quantized, and what it needs. `rewrites.simplify` turns the operators of REWRITTEN into these.
QUANTIZABLE = {
    "Conv": "2-D, constant weights, any group",
    "Gemm": "constant weights",
    "Add": "two tensors of the same shape",
    "Concat": "computed tensors, along the channels",
    "MaxPool": "2-D, whose size is not rounded up",
    "GlobalAveragePool": "",
    "Resize": "nearest, by whole factors",
    "LeakyRelu": "",
    "Relu": "",
    "Clip": "from 0",
    "Sigmoid": "",
    "Flatten": "before a fully connected layer",
}
REWRITTEN = {
    "BatchNormalization": "Conv",
    "MatMul": "Gemm",
    "AveragePool": "Conv or GlobalAveragePool",
    "ReduceMean": "GlobalAveragePool",
    "Reshape": "Flatten",
    "Squeeze": "Flatten",
    "Upsample": "Resize",
    "Pad": "the padding of the next Conv",
    "Identity": "nothing",
    "Dropout": "nothing",
    "Softmax": "nothing, at the end of a classifier",
}


def refuse_unsupported(graph: FloatGraph) -> None:
    """Raise for the first node that no integer kernel fits; the message says what to do."""
    for node in graph.nodes:
        if node.operator not in QUANTIZABLE:
            raise unsupported(node)
        if node.operator == "Clip" and _clip_limits(graph, node)[0] != 0:
            raise unsupported(node, "except with minimum 0 (ReLU6)")
        if node.operator in {"Add", "Concat"}:
            _refuse_joined(graph, node)
        if node.operator == "MaxPool" and node.number("ceil_mode", 0):
            raise unsupported(node, "with ceil_mode (pad its right and lower edge instead)")
        if node.operator in {"Conv", "Gemm"} and node.inputs[1] not in graph.constants:
            raise unsupported(node, "with weights that are computed while the network runs")
        if node.operator == "Conv" and len(graph.shapes[node.output]) != 4:
            raise unsupported(node, "except in two dimensions")
        sizes = graph.shapes.get(node.inputs[0], ()), graph.shapes.get(node.output, ())
        if node.operator == "Resize" and not repeats_pixels(node, *sizes):
            raise unsupported(node, "except nearest, where each pixel is repeated a whole number of times")


def _refuse_joined(graph: FloatGraph, node: Node) -> None:
    constant = any(name in graph.constants for name in node.inputs)
    if node.operator == "Add" and (constant or len({graph.shapes.get(name, ()) for name in node.inputs}) != 1):
        raise unsupported(node, "except of two computed tensors with one shape")
    along_channels = len(graph.shapes[node.output]) == 4 and node.number("axis", 1) in {1, -3}
    if node.operator == "Concat" and (constant or not along_channels):
        raise unsupported(node, "except along the channels (axis 1) of computed tensors")


def clip_maximum(graph: FloatGraph, node: Node) -> float | None:
    """The upper limit of a Clip, None where there is none."""
    return _clip_limits(graph, node)[1]


def _clip_limits(graph: FloatGraph, node: Node) -> tuple[float | None, float | None]:
    limits: list[float | None] = [None, None]
    for index, name in enumerate(node.inputs[1:3]):
        if name:
            limits[index] = float(graph.constant(name, node).reshape(()))
    return limits[0], limits[1]


def unsupported(node: Node, detail: str = "") -> GraphUnsupported:
    """The refusal of a node: which, why, what to do, and what is known."""
    known = ", ".join(sorted(QUANTIZABLE.keys() | REWRITTEN.keys()))
    return GraphUnsupported(
        f"node {node.name!r}: operator {node.operator} {detail + ' ' if detail else ''}cannot be quantized. "
        f"Replace it before the export, or cut the network before it. Known are: {known}."
    )
