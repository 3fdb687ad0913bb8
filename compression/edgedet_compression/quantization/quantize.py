"""A float ONNX network to a quantized one, in one call: the order of all steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.progress import Progress, silent
from edgedet_compression.quantization.calibration import calibrate
from edgedet_compression.quantization.detector_heads import HeadScaling, head_convs, scale_heads
from edgedet_compression.quantization.float_graph import FloatGraph, Node, load_float_graph
from edgedet_compression.quantization.input_stem import MAX_CODE, Normalization, absorb_normalization
from edgedet_compression.quantization.patch_statistics import patch_statistics
from edgedet_compression.quantization.plan import Plan, plan_steps, quantize_tensors, tensors_to_calibrate
from edgedet_compression.quantization.qdq import write_qdq
from edgedet_compression.quantization.ranges import Quantization
from edgedet_compression.quantization.rewrites import simplify
from edgedet_compression.quantization.weights import QuantizedWeights, quantize_weights
from edgedet_compression.quantization.wide_stem import widen_stem

Photos = Sequence[npt.NDArray[np.uint8]]

_LEARNED = {"Conv", "Gemm", "MatMul", "BatchNormalization"}
_KEEPING_VALUES = {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Transpose"}


@dataclass(frozen=True)
class YoloShape:
    """Anchors per output of the network, in the order of its outputs, and the number of classes."""

    anchors: tuple[int, ...]
    classes: int


@dataclass(frozen=True)
class Outline:
    """What a float network reads and answers: its image input's name and shape [1, C, H, W], its classes."""

    input: str
    shape: tuple[int, int, int, int]
    classes: int
    heads: tuple[tuple[str, int, int], ...] = ()
    """Of a detector: names, rows and columns of its outputs."""


@dataclass(frozen=True)
class QuantizedNetwork:
    """The QDQ model; `heads` in the order of its outputs, empty for a classifier."""

    model: onnx.ModelProto
    heads: tuple[HeadScaling, ...]
    bits: Literal[4, 8] = 8
    """Of weights, and of the activations that layers read."""


def quantize(
    model: onnx.ModelProto,
    photos: Photos,
    normalization: Normalization,
    yolo: YoloShape | None = None,
    progress: Progress = silent,
) -> QuantizedNetwork:
    """Quantize a float network, calibrated on inputs uint8 [1, H, W, C] as `edgedet_runtime.letterbox` makes them.

    With `yolo` the outputs are raw head maps, else one output [1, classes].

    Raises:
        GraphUnsupported: naming the operator that stands in the way.
        SourceUnreadable: not a float network with one image input.
    """
    graph = _read(model, yolo)
    zero_point = absorb_normalization(graph, normalization)
    if yolo is None:
        _end_on_gemm(graph)
    images = [as_network_reads(photo, zero_point) for photo in photos]
    heads = scale_heads(graph, images, yolo.anchors, yolo.classes) if yolo else ()
    given = {graph.input: Quantization(float(np.float32(1 / MAX_CODE)), zero_point)}
    given |= {name: head.quantization for name, head in zip(graph.outputs, heads, strict=False)}
    steps = plan_steps(graph)
    tensors = tensors_to_calibrate(graph, steps)
    calibration = calibrate(graph, images, tensors, progress("recording ranges", 2 * len(images)))
    plan = quantize_tensors(graph, steps, calibration, given)
    weights = _quantized_weights(graph, plan, images, progress)
    return QuantizedNetwork(widen_stem(write_qdq(graph, plan, weights)), heads)


def outline(model: onnx.ModelProto, yolo: YoloShape | None = None) -> Outline:
    """What is known of a float network before any photo runs through it; the shape is NCHW also where it reads NHWC.

    Raises:
        GraphUnsupported, SourceUnreadable: as `quantize` does.
    """
    graph = _read(model, yolo)
    batch, channels, height, width = graph.shapes[graph.input]
    shape = batch, channels, height, width
    if yolo is None:
        return Outline(graph.input, shape, _class_count(graph))
    head_convs(graph, yolo.anchors, yolo.classes)
    heads = tuple((name, graph.shapes[name][2], graph.shapes[name][3]) for name in graph.outputs)
    return Outline(graph.input, shape, yolo.classes, heads)


def float_form(model: onnx.ModelProto, yolo: YoloShape | None = None) -> onnx.ModelProto:
    """The float network in the form that is quantized, which computes the same: NCHW in and out, a classifier's logits.

    Raises:
        GraphUnsupported, SourceUnreadable: as `quantize` does.
    """
    return _read(model, yolo).model()


def _read(model: onnx.ModelProto, yolo: YoloShape | None) -> FloatGraph:
    graph = load_float_graph(model)
    _refuse_no_numbers(graph)
    if yolo is None:
        _refuse_further_outputs(graph)
        _refuse_sigmoid_scores(graph)  # before a Softmax at the end falls away, which may stand behind one
    simplify(graph)
    return graph


def _quantized_weights(
    graph: FloatGraph, plan: Plan, images: Sequence[npt.NDArray[np.float32]], progress: Progress
) -> dict[str, QuantizedWeights]:
    nodes = [step.node for step in plan.steps if step.node.operator in {"Conv", "Gemm"}]
    found = {}
    advance = progress("rounding weights", len(nodes))
    for node, statistics in patch_statistics(graph, nodes, images, advance):
        weight = graph.constant(node.inputs[1], node)
        has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
        bias = graph.constant(node.inputs[2], node) if has_bias else np.zeros(len(weight), np.float32)
        scale = plan.quantizations[node.inputs[0]].scale
        found[node.name] = quantize_weights(weight, bias, scale, statistics)
    return found


def as_network_reads(photo: npt.NDArray[np.uint8], zero_point: int) -> npt.NDArray[np.float32]:
    """Codes [1, H, W, C] to (q - zero_point)/255 [1, C, H, W]."""
    centered = photo.astype(np.float32) - np.float32(zero_point)
    return np.ascontiguousarray((centered / np.float32(MAX_CODE)).transpose(0, 3, 1, 2))


def _refuse_no_numbers(graph: FloatGraph) -> None:
    """A training that diverged leaves them, and nothing can be scaled by them; what a Clip ends at may be infinite."""
    learned = {name for node in graph.nodes if node.operator in _LEARNED for name in node.inputs}
    for name, values in graph.constants.items():
        if values.dtype.kind != "f" or np.isfinite(values).all():
            continue
        if name in learned or np.isnan(values).any():
            raise GraphUnsupported(
                f"weight {name!r} has values that are no numbers (NaN or infinite): export a sound network"
            )


def _refuse_further_outputs(graph: FloatGraph) -> None:
    if len(graph.outputs) != 1:
        raise GraphUnsupported(
            f"a classifier needs one output [1, classes]; the network has {len(graph.outputs)}: "
            f"{', '.join(graph.outputs)}. If they are a detector's head maps, give --anchors."
        )


def _refuse_sigmoid_scores(graph: FloatGraph) -> None:
    """The runtime's softmax of probabilities would be other scores than the network's."""
    for output in graph.outputs:
        node = graph.producer(output)
        while node is not None and node.operator in _KEEPING_VALUES:
            node = graph.producer(node.inputs[0])
        if node is not None and node.operator == "Sigmoid":
            raise GraphUnsupported(
                f"output {output!r} is made by Sigmoid (node {node.name!r}), but a classifier's scores are a softmax: "
                "export the logits of exclusive classes. If it is a detector's head map, cut the decoding off and give "
                "--anchors."
            )


def _class_count(graph: FloatGraph) -> int:
    """Classes of a classifier: its one output is [1, classes], or a pooled map [1, classes, 1, 1]."""
    (output,) = graph.outputs
    shape = graph.shapes[output]
    if len(shape) not in {2, 4} or (len(shape) == 4 and shape[2:] != (1, 1)):
        raise GraphUnsupported(
            f"output {output!r} has shape {list(shape)}; a classifier needs [1, classes]. If it is a detector's head "
            "map, give --anchors."
        )
    if shape[1] == 1:
        raise GraphUnsupported(
            f"output {output!r} has one class, whose softmax is 1 for every photo: export the logits of exclusive "
            "classes, at least two"
        )
    return shape[1]


def _end_on_gemm(graph: FloatGraph) -> None:
    """A classifier's logits come out of a fully connected layer; behind a pooled map an identity serves as one."""
    classes, output = _class_count(graph), graph.outputs[0]
    producer = graph.producer(output)
    if producer is not None and producer.operator == "Gemm":
        return
    features = graph.fresh(f"{output}_features")
    for node in graph.nodes:
        node.outputs = [features if name == output else name for name in node.outputs]
        node.inputs = [features if name == output else name for name in node.inputs]
    if len(graph.shapes[output]) == 4:
        flat = graph.fresh(f"{output}_flat")
        graph.nodes.append(Node("Flatten", flat, [features], [flat], {"axis": 1}))
        features = flat
    weight, bias = graph.fresh(f"{output}_weight"), graph.fresh(f"{output}_bias")
    graph.constants[weight] = np.eye(classes, dtype=np.float32)
    graph.constants[bias] = np.zeros(classes, np.float32)
    graph.nodes.append(Node("Gemm", graph.fresh(f"{output}_logits"), [features, weight, bias], [output], {"transB": 1}))
    graph.infer_shapes()
