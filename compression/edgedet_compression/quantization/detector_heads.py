"""Prepares a YOLO detector's raw head maps for 8 bits: each group of channels fills the codes, channels padded.

The groups (xy, wh, objectness, classes) of a head have ranges that differ by an order of magnitude. Dividing a
group's output channels by its multiplier lets all groups share one scale; decoding tables multiply it back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.quantization.float_graph import FloatGraph, Node
from edgedet_compression.quantization.ranges import LEVELS, Quantization

GROUPS = ("xy", "wh", "objectness", "classes")

# σ(-8) = 0.0003: below that neither an objectness nor a class matters at any threshold.
_LEAST_LOGIT = -8.0
# Ends of the other ranges: quantiles of what cells with a visible object say.
_VISIBLE_LOGIT = -3.0
_QUANTILE = 0.9995


@dataclass(frozen=True)
class HeadScaling:
    """The quantization of a head's map, the groups' multipliers included in its values' meaning."""

    quantization: Quantization
    multipliers: tuple[float, float, float, float]


def group_of_channel(anchors: int, classes: int) -> npt.NDArray[np.int64]:
    """The group's index in GROUPS of every channel [anchors·(5 + classes)]."""
    return np.tile(np.array([0, 0, 1, 1, 2, *[3] * classes]), anchors)


def scale_heads(
    graph: FloatGraph,
    images: Sequence[npt.NDArray[np.float32]],
    anchors: Sequence[int],
    classes: int,
) -> tuple[HeadScaling, ...]:
    """Measure each output's groups, divide its weights by the multipliers and pad it to a multiple of 16 channels.

    Raises:
        GraphUnsupported: as `head_convs` does.
    """
    producers = head_convs(graph, anchors, classes)
    ranges = _group_ranges(graph, images, anchors, classes)
    scalings = []
    for node, count, ends in zip(producers, anchors, ranges, strict=True):
        scaling = _scaling(ends)
        _rescale(graph, node, group_of_channel(count, classes), scaling.multipliers)
        scalings.append(scaling)
    graph.infer_shapes()
    return tuple(scalings)


def head_convs(graph: FloatGraph, anchors: Sequence[int], classes: int) -> list[Node]:
    """The convolutions that make a detector's outputs, in their order.

    Raises:
        GraphUnsupported: another number of outputs, or one that is not a Conv's map of anchors·(5 + classes) channels.
    """
    if len(anchors) != len(graph.outputs):
        raise GraphUnsupported(
            f"the network has {len(graph.outputs)} outputs ({', '.join(graph.outputs)}), --anchors tells of "
            f"{len(anchors)}: give the anchors of each output, apart by ';', in this order"
        )
    return [_head_conv(graph, name, count, classes) for name, count in zip(graph.outputs, anchors, strict=True)]


def _head_conv(graph: FloatGraph, tensor: str, anchors: int, classes: int) -> Node:
    node, shape, wanted = graph.producer(tensor), graph.shapes[tensor], anchors * (5 + classes)
    if node is None or node.operator != "Conv" or len(shape) != 4 or shape[1] != wanted:
        made_by = "nothing" if node is None else node.operator
        raise GraphUnsupported(
            f"output {tensor!r} has shape {list(shape)} and is made by {made_by}; a detector's outputs must be raw "
            f"head maps [1, {wanted}, rows, columns] ({anchors} anchors · (5 + {classes} classes)) right out of a "
            "Conv. Cut the decoding off before the export, or correct --anchors or --labels."
        )
    if readers := graph.consumers(tensor):
        raise GraphUnsupported(
            f"output {tensor!r} is read again by {readers[0].operator} {readers[0].name!r}: the scales of a head map "
            "are those of its boxes, which no other layer could read. Export a network whose head maps end there."
        )
    return node


def _group_ranges(
    graph: FloatGraph, images: Iterable[npt.NDArray[np.float32]], anchors: Sequence[int], classes: int
) -> list[list[tuple[float, float]]]:
    """(low, high) of each group of each head."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen: list[list[list[npt.NDArray[np.float32]]]] = [[[] for _ in GROUPS] for _ in anchors]
    for image in images:
        for head, value in enumerate(session.run(graph.outputs, {graph.input: image})):
            cells = value.reshape(anchors[head], 5 + classes, -1).transpose(0, 2, 1).reshape(-1, 5 + classes)
            visible = cells[cells[:, 4] > _VISIBLE_LOGIT]
            for group, part in enumerate((visible[:, :2], visible[:, 2:4], cells[:, 4:5], visible[:, 5:])):
                seen[head][group].append(part.reshape(-1))
    return [[_ends(np.concatenate(parts), group) for group, parts in enumerate(groups)] for groups in seen]


def _ends(values: npt.NDArray[np.float32], group: int) -> tuple[float, float]:
    if not len(values):
        return (-1.0, 1.0)
    if group >= 2:
        return max(float(values.min()), _LEAST_LOGIT), max(float(values.max()), 1.0)
    low, high = np.quantile(values, [1 - _QUANTILE, _QUANTILE])
    return min(float(low), -1e-3), max(float(high), 1e-3)


def _scaling(ends: list[tuple[float, float]]) -> HeadScaling:
    """One zero point for all groups, chosen so that the groups' steps are smallest in geometric mean."""

    def steps(zero_point: int) -> list[float]:
        return [max(-low / zero_point, high / (LEVELS - zero_point)) for low, high in ends]

    zero_point = min(range(1, LEVELS), key=lambda code: float(np.log(steps(code)).sum()))
    found = steps(zero_point)
    scale = float(np.float32(max(found)))
    first, second, third, fourth = (step / scale for step in found)
    return HeadScaling(Quantization(scale, zero_point), (first, second, third, fourth))


def _rescale(
    graph: FloatGraph, node: Node, groups: npt.NDArray[np.int64], multipliers: tuple[float, float, float, float]
) -> None:
    divisors = np.asarray(multipliers)[groups]
    weight = graph.constant(node.inputs[1], node) / divisors[:, None, None, None]
    bias = np.zeros(len(weight))
    if len(node.inputs) > 2:
        bias = graph.constant(node.inputs[2], node) / divisors
    padding = -len(weight) % 16
    weight = np.concatenate([weight, np.zeros((padding, *weight.shape[1:]))]).astype(np.float32)
    bias = np.concatenate([bias, np.zeros(padding)]).astype(np.float32)
    names = [graph.fresh(f"{node.name}_scaled_weight"), graph.fresh(f"{node.name}_scaled_bias")]
    graph.constants.update(zip(names, (weight, bias), strict=True))
    node.inputs[1:] = names
