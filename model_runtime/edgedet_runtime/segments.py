"""Segments: where a quantized network can be cut, which cuts are worth keeping, and the cut itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.manifest import Boundary, InputSpec, TensorSpec
from edgedet_runtime.quantized_graph import LARGEST_CODE, Codes, QuantizedGraph, read_quantized_graph

# A tail with less work than this share is not worth a journey.
_LEAST_TAIL_SHARE = 0.02
# Behind the fewest-bytes boundary one cut is kept in each of so many spans of equal compute, so that a request
# that already runs can still leave.
_LATE_SPANS = 2
_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Segment:
    """Segment `index` (1…N): a model from the live tensors before it to those that it makes."""

    index: int
    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int


def load_network(path: Path) -> onnx.ModelProto:
    """Read a package's network.

    Raises:
        GraphUnsupported: not an ONNX file, or one with weights in other files, which no hash would cover.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise GraphUnsupported(f"{path}: is no ONNX file") from error
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    if any(uses_external_data(tensor) for tensor in [*model.graph.initializer, *constants]):
        raise GraphUnsupported(f"{path}: keeps weights in other files; save it with its weights inside")
    return model


def find_boundaries(model: onnx.ModelProto) -> tuple[Boundary, ...]:
    """The boundaries worth keeping, k = 1…N-1 in order of head compute.

    Kept are the Pareto-optimal ones in (head compute, bytes) and, behind the one with the fewest bytes, the
    cheapest of each of two equal spans of the remaining compute.
    """
    graph = read_quantized_graph(model)
    candidates = list(_candidates(graph))
    early = [c for c in candidates if not any(_dominates(other, c) for other in candidates)]
    late: list[Boundary] = []
    if early:
        start = max(boundary.head_macs for boundary in early)
        span = (graph.macs - start) / _LATE_SPANS
        for index in range(_LATE_SPANS):
            low, high = start + index * span, start + (index + 1) * span
            inside = [c for c in candidates if low < c.head_macs <= high]
            late += [min(inside, key=lambda c: (c.nbytes, c.head_macs))] if inside else []
    kept = sorted(early + late, key=lambda boundary: boundary.head_macs)
    return tuple(boundary.model_copy(update={"k": k}) for k, boundary in enumerate(kept, 1))


def output_specs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The network's outputs as tensors."""
    return tuple(_spec(codes, moved=False) for codes in read_quantized_graph(model).outputs)


def cut(
    model: onnx.ModelProto,
    source: InputSpec,
    boundaries: Sequence[Boundary],
    outputs: Sequence[TensorSpec],
) -> tuple[Segment, ...]:
    """Cut the model at the manifest's boundaries into segments 1…N.

    Raises:
        GraphUnsupported: a boundary names a tensor that the graph lacks or has in another shape, or that does
            not separate it.
    """
    graph = read_quantized_graph(model)
    ends = [(source.tensor,), *(boundary.tensors for boundary in boundaries), tuple(outputs)]
    heads = [0, *(boundary.head_macs for boundary in boundaries), graph.macs]
    names = {source.name, *(spec.name for spec in outputs)}
    _check_specs(graph, [spec for specs in ends for spec in specs], names)
    most = {codes.name: codes.most for layer in graph.layers for codes in (*layer.inputs, layer.output)}
    cutter = _Cutter(model, names, most)
    return tuple(
        cutter.segment(index, ends[index - 1], ends[index], heads[index] - heads[index - 1])
        for index in range(1, len(ends))
    )


def _candidates(graph: QuantizedGraph) -> Iterator[Boundary]:
    """Every place between two layers where all live tensors are uint8 and both sides have work."""
    final = {codes.name for codes in graph.outputs}
    last_use = {codes.name: index for index, layer in enumerate(graph.layers) for codes in layer.inputs}
    live: dict[str, Codes] = {codes.name: codes for codes in graph.inputs}
    head = 0
    best: dict[int, Boundary] = {}
    for index, layer in enumerate(graph.layers):
        live[layer.output.name] = layer.output
        live = {name: codes for name, codes in live.items() if name in final or last_use.get(name, -1) > index}
        head += layer.macs
        if not head or graph.macs - head < _LEAST_TAIL_SHARE * graph.macs:
            continue
        if any(codes.is_float for codes in live.values()):
            continue
        tensors = tuple(_spec(codes, moved=codes.name not in final) for codes in live.values())
        boundary = Boundary(k=1, tensors=tensors, head_macs=head)
        # Of cuts with equal head compute the cheapest counts, and of equals the last: the activation is then done.
        if head not in best or boundary.nbytes <= best[head].nbytes:
            best[head] = boundary
    yield from best.values()


def _check_specs(graph: QuantizedGraph, told: Sequence[TensorSpec], ends: set[str]) -> None:
    found = {
        codes.name: _spec(codes, moved=codes.name not in ends)
        for layer in graph.layers
        for codes in (*layer.inputs, layer.output)
    }
    for spec in told:
        known = found.get(spec.name)
        if known != spec:
            real = f"is {known.dtype} {known.shape}" if known else "is missing"
            raise GraphUnsupported(f"tensor {spec.name!r} {real} in the graph, {spec.dtype} {spec.shape} is told")


def _dominates(other: Boundary, boundary: Boundary) -> bool:
    return other.head_macs <= boundary.head_macs and other.nbytes <= boundary.nbytes and other != boundary


def _spec(codes: Codes, *, moved: bool) -> TensorSpec:
    """Feature maps inside the graph are NCHW and travel as NHWC."""
    shape = codes.shape
    if moved and len(shape) == 4:
        shape = (shape[0], shape[2], shape[3], shape[1])
    return TensorSpec(name=codes.name, shape=shape, dtype="float32" if codes.is_float else "uint8")


class _Cutter:
    def __init__(self, model: onnx.ModelProto, ends: set[str], most: Mapping[str, int]) -> None:
        self.model = model
        self.ends = ends  # the network's own input and outputs keep their layout
        self.most = most  # the largest code of each tensor
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.order = {node.output[0]: index for index, node in enumerate(model.graph.node)}
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}

    def segment(self, index: int, before: tuple[TensorSpec, ...], after: tuple[TensorSpec, ...], macs: int) -> Segment:
        made = tuple(spec for spec in after if spec not in before)
        nodes, used = self._between({spec.name for spec in before}, [spec.name for spec in made])
        inputs = tuple(spec for spec in before if spec.name in used)
        names = {name for node in nodes for name in node.input}
        initializers = [self.initializers[name] for name in sorted(names & self.initializers.keys())]
        enter = [node for spec in inputs for node in self._transposed(spec, entering=True)]
        leave = [node for spec in made for node in self._transposed(spec, entering=False)]
        renamed = {spec.name: f"{spec.name}:nchw" for spec in (*inputs, *made) if self._is_moved(spec)}
        held = [spec for spec in inputs if spec.name not in self.ends and self.most[spec.name] < LARGEST_CODE]
        initializers += [_limit(spec, self.most[spec.name]) for spec in held]
        enter += [_holding(spec, renamed.get(spec.name, spec.name)) for spec in held]
        renamed |= {spec.name: f"{spec.name}:held" for spec in held}
        body = [_renamed(node, renamed) for node in nodes]
        graph = helper.make_graph(
            [*enter, *body, *leave],
            f"segment_{index}",
            [helper.make_tensor_value_info(s.name, _TYPES[s.dtype], s.shape) for s in inputs],
            [helper.make_tensor_value_info(s.name, _TYPES[s.dtype], s.shape) for s in made],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return Segment(index, model, inputs, made, macs)

    def _between(self, before: set[str], wanted: list[str]) -> tuple[list[onnx.NodeProto], set[str]]:
        """Nodes needed to make `wanted` out of `before`, in the graph's order, and which of `before` they use."""
        nodes: dict[str, onnx.NodeProto] = {}
        used: set[str] = set()
        stack = list(wanted)
        while stack:
            name = stack.pop()
            if name in before:
                used.add(name)
                continue
            if not name or name in self.initializers:
                continue
            node = self.producers.get(name)
            if node is None:
                raise GraphUnsupported(f"boundary: tensor {name!r} cannot be made from {sorted(before)}")
            if node.output[0] not in nodes:
                nodes[node.output[0]] = node
                stack.extend(node.input)
        return sorted(nodes.values(), key=lambda node: self.order[node.output[0]]), used

    def _is_moved(self, spec: TensorSpec) -> bool:
        return len(spec.shape) == 4 and spec.name not in self.ends

    def _transposed(self, spec: TensorSpec, *, entering: bool) -> list[onnx.NodeProto]:
        """NHWC outside, NCHW inside: the optimizer cancels the pair against its own NHWC kernels."""
        if not self._is_moved(spec):
            return []
        inner = f"{spec.name}:nchw"
        if entering:
            return [helper.make_node("Transpose", [spec.name], [inner], f"{spec.name}:enter", perm=[0, 3, 1, 2])]
        return [helper.make_node("Transpose", [inner], [spec.name], f"{spec.name}:leave", perm=[0, 2, 3, 1])]


def _limit(spec: TensorSpec, most: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(most, np.uint8), f"{spec.name}:most")


def _holding(spec: TensorSpec, read: str) -> onnx.NodeProto:
    """Holds a segment's input to its codes once more: a tail alone tells how many its tensors have."""
    held = f"{spec.name}:held"
    return helper.make_node("Min", [read, f"{spec.name}:most"], [held], held)


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for index, name in enumerate(copy.input):
        copy.input[index] = names.get(name, name)
    for index, name in enumerate(copy.output):
        copy.output[index] = names.get(name, name)
    return copy
