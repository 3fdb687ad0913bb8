"""Decides which tensors become codes and with which scales, before a quantized graph is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from edgedet_runtime.errors import GraphUnsupported

from edgedet_compression.quantization.calibration import Calibration
from edgedet_compression.quantization.float_graph import FloatGraph, Node
from edgedet_compression.quantization.quantizable import clip_maximum
from edgedet_compression.quantization.ranges import Quantization, covering, leaky_output, least_squares

# These only move codes: both sides share one scale.
MOVERS = {"MaxPool", "Resize", "Flatten"}
# A Relu or Clip right behind one of these is the lower (and upper) end of its output's codes.
_SATURATING = {"Conv", "Gemm", "Add"}


@dataclass(frozen=True)
class Step:
    """A node of the quantized graph and the tensor it makes, a Relu or Clip behind it included."""

    node: Node
    output: str
    rectified: bool = False
    ceiling: float | None = None


@dataclass
class Plan:
    """Steps in running order, and the quantization of every tensor that becomes codes."""

    steps: list[Step]
    quantizations: dict[str, Quantization] = field(default_factory=dict)


def plan_steps(graph: FloatGraph) -> list[Step]:
    """Take up every Relu and Clip in the step before it.

    Raises:
        GraphUnsupported: a Clip that stands alone.
    """
    steps: list[Step] = []
    taken: set[str] = set()
    for node in graph.nodes:
        if node.name in taken:
            continue
        follower = graph.sole_consumer(node.output)
        if node.operator in _SATURATING and follower is not None and follower.operator in {"Relu", "Clip"}:
            ceiling = clip_maximum(graph, follower) if follower.operator == "Clip" else None
            steps.append(Step(node, follower.output, rectified=True, ceiling=ceiling))
            taken.add(follower.name)
        elif node.operator == "Clip":
            raise GraphUnsupported(
                f"node {node.name!r}: operator Clip cannot be quantized here, only right behind Conv, Gemm or Add"
            )
        elif node.operator == "Relu":
            leaky = Node("LeakyRelu", node.name, node.inputs, node.outputs, {"alpha": 0.0})
            steps.append(Step(leaky, node.output))
        else:
            steps.append(Step(node, node.output))
    return steps


def tensors_to_calibrate(graph: FloatGraph, steps: list[Step]) -> list[str]:
    """Every tensor whose distribution the plan needs."""
    names = [step.output for step in steps] + [name for step in steps for name in _data_inputs(step)]
    return [name for name in dict.fromkeys(names) if name != graph.input] + [graph.input]


def quantize_tensors(
    graph: FloatGraph,
    steps: list[Step],
    calibration: Calibration,
    given: Mapping[str, Quantization],
) -> Plan:
    """Give every tensor its scale; `given` are settled already (the input, a detector's heads)."""
    plan = Plan(steps, dict(given))
    readers = _readers(steps)
    for step in steps:
        if step.output in plan.quantizations:
            continue
        if step.node.operator in MOVERS:
            plan.quantizations[step.output] = plan.quantizations[step.node.inputs[0]]
            continue
        decisive, slope = _decisive(step.output, readers, graph)
        histogram = calibration.histograms[decisive]
        if step.node.operator == "LeakyRelu" and decisive == step.output:
            source = step.node.inputs[0]
            alpha = step.node.number("alpha", 0.01)
            before = calibration.histograms[source]
            plan.quantizations[step.output] = leaky_output(plan.quantizations[source], before, alpha)
        elif step.node.operator == "Sigmoid":
            plan.quantizations[step.output] = covering(0.0, 1.0)
        else:
            plan.quantizations[step.output] = _limited(least_squares(histogram, slope), step)
    return plan


def _limited(found: Quantization, step: Step) -> Quantization:
    """A rectified output starts at code 0 and ends at its ceiling at the latest."""
    if not step.rectified:
        return found
    high = found.high if step.ceiling is None else min(found.high, step.ceiling)
    if step.ceiling is None:
        return Quantization(float(np.float32(high / 255)), 0)
    scale = np.float32(high / 255)
    if float(scale) * 255 > step.ceiling:
        scale = np.nextafter(scale, np.float32(0))
    return Quantization(float(scale), 0)


def _decisive(tensor: str, readers: Mapping[str, list[Step]], graph: FloatGraph) -> tuple[str, float]:
    """The last tensor that shares these codes, and the slope of the LeakyRelu that alone reads it (else 1)."""
    while len(readers.get(tensor, [])) == 1 and tensor not in graph.outputs:
        reader = readers[tensor][0]
        if reader.node.operator == "LeakyRelu":
            return tensor, max(reader.node.number("alpha", 0.01), 0.01)
        if reader.node.operator not in MOVERS:
            break
        tensor = reader.output
    return tensor, 1.0


def _readers(steps: list[Step]) -> dict[str, list[Step]]:
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in _data_inputs(step):
            readers.setdefault(name, []).append(step)
    return readers


def _data_inputs(step: Step) -> list[str]:
    """The inputs that are codes: all of Add and Concat, the first of the others."""
    return step.node.inputs if step.node.operator in {"Add", "Concat"} else step.node.inputs[:1]
