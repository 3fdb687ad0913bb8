"""A float ONNX network in a plain, editable form: constants folded, batch 1, one image in."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from edgedet_runtime.errors import GraphUnsupported
from onnx import TensorProto, helper, numpy_helper

from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.graph_builder import OPSET, as_model

Array = npt.NDArray[np.generic]


@dataclass
class Node:
    """One operator; `inputs` without trailing empty names."""

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """The only output that is used."""
        return self.outputs[0]

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name, default)
        return tuple(int(part) for part in value) if isinstance(value, Sequence) else tuple(default)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, int | float) else default


@dataclass
class FloatGraph:
    """Nodes in running order, constants by name, one image input [1, C, H, W], static shapes."""

    input: str
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Array]
    shapes: dict[str, tuple[int, ...]]

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor; None for the input and for constants."""
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def consumers(self, tensor: str) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if tensor in node.inputs]

    def sole_consumer(self, tensor: str) -> Node | None:
        """The node that reads a tensor, if nothing else does and it is not an output."""
        found = self.consumers(tensor)
        return found[0] if len(found) == 1 and tensor not in self.outputs else None

    def replace(self, tensor: str, by: str) -> None:
        """Let every reader of `tensor` read `by` instead."""
        for node in self.nodes:
            node.inputs = [by if name == tensor else name for name in node.inputs]
        self.outputs = [by if name == tensor else name for name in self.outputs]

    def remove(self, node: Node) -> None:
        """Take out a node with one input that matters: its readers read its input."""
        self.nodes.remove(node)
        if node.output in self.outputs:
            # An output keeps its name: the tensor before takes it over.
            source = node.inputs[0]
            self._rename(source, node.output)
        else:
            self.replace(node.output, node.inputs[0])

    def _rename(self, tensor: str, name: str) -> None:
        for node in self.nodes:
            node.inputs = [name if part == tensor else part for part in node.inputs]
            node.outputs = [name if part == tensor else part for part in node.outputs]
        self.shapes[name] = self.shapes.get(tensor, self.shapes.get(name, ()))

    def fresh(self, stem: str) -> str:
        """A tensor name that is not in use."""
        used = {name for node in self.nodes for name in (*node.inputs, *node.outputs)} | self.constants.keys()
        name, count = stem, 1
        while name in used:
            count += 1
            name = f"{stem}_{count}"
        return name

    def constant(self, tensor: str, node: Node) -> npt.NDArray[np.float32]:
        """A float constant that a node reads, e.g. its weight.

        Raises:
            GraphUnsupported: the tensor is computed, not constant.
        """
        if tensor not in self.constants:
            raise GraphUnsupported(
                f"node {node.name!r} ({node.operator}): {tensor!r} is computed while the network runs; "
                "only constant weights can be quantized"
            )
        return np.asarray(self.constants[tensor], np.float32)

    def infer_shapes(self) -> None:
        """Recompute all shapes after an edit."""
        model = self.model()
        known = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self.shapes = {info.name: _shape(info) for info in known}

    def model(self, extra_outputs: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph as ONNX; `extra_outputs` are inner tensors to be shown as outputs too."""
        self.sort()
        outputs = list(dict.fromkeys((*self.outputs, *extra_outputs)))
        used = {name for node in self.nodes for name in node.inputs}
        graph = helper.make_graph(
            [
                helper.make_node(node.operator, node.inputs, node.outputs, name=node.name, **node.attributes)
                for node in self.nodes
            ],
            "float",
            [helper.make_tensor_value_info(self.input, TensorProto.FLOAT, self.shapes[self.input])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in self.constants.items() if k in used],
        )
        return as_model(graph)

    def sort(self) -> None:
        """Bring the nodes into an order in which every input is made before it is read."""
        ready = {self.input, "", *self.constants}
        waiting, ordered = list(self.nodes), []
        while waiting:
            runnable = [node for node in waiting if ready.issuperset(node.inputs)]
            if not runnable:
                raise GraphUnsupported(f"node {waiting[0].name!r} reads a tensor that nothing makes")
            ordered += runnable
            ready.update(name for node in runnable for name in node.outputs)
            waiting = [node for node in waiting if node not in runnable]
        self.nodes = ordered


def load_float_graph(model: onnx.ModelProto) -> FloatGraph:
    """Simplify any float ONNX network with one image input.

    The batch becomes 1; constants, BatchNorm and identities are folded by ONNX Runtime's own offline optimization.

    Raises:
        SourceUnreadable: not one image input, not float32, or a size that is not fixed.
        GraphUnsupported: ONNX Runtime cannot load the network.
    """
    prepared = _as_opset(_with_fixed_input(model))
    folded = _folded_by_onnxruntime(prepared)
    graph = folded.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    nodes = []
    _name_all(graph)
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            continue
        nodes.append(_read_node(node))
    result = FloatGraph(
        input=graph.input[0].name,
        outputs=[output.name for output in graph.output],
        nodes=nodes,
        constants=constants,
        shapes={graph.input[0].name: _shape(graph.input[0])},
    )
    result.infer_shapes()
    return result


def _name_all(graph: onnx.GraphProto) -> None:
    """Nodes without a name get one that no other has."""
    taken = {node.name for node in graph.node}
    for index, node in enumerate(graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)


def _read_node(node: onnx.NodeProto) -> Node:
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    decoded = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    inputs = list(node.input)
    while inputs and not inputs[-1]:
        inputs.pop()
    return Node(node.op_type, node.name, inputs, list(node.output), decoded)


def _with_fixed_input(model: onnx.ModelProto) -> onnx.ModelProto:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {item.name for item in fixed.graph.initializer}
    inputs = [info for info in fixed.graph.input if info.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise SourceUnreadable(f"the network must have one input, the image; it has {len(inputs)}: {names}")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise SourceUnreadable(f"input {inputs[0].name!r} must be float32: export the network before quantization")
    if len(kind.shape.dim) != 4:
        raise SourceUnreadable(
            f"input {inputs[0].name!r} must be an image [1, C, H, W], has {len(kind.shape.dim)} axes"
        )
    kind.shape.dim[0].dim_value = 1
    if any(dim.dim_value <= 0 for dim in kind.shape.dim):
        raise SourceUnreadable(
            f"input {inputs[0].name!r} has a size that is not fixed: export with fixed channels, height and width"
        )
    del fixed.graph.value_info[:]
    del fixed.graph.input[:]
    fixed.graph.input.append(inputs[0])
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    return fixed


def _as_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), 0)
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if foreign:
        raise GraphUnsupported(f"the network uses operators of {foreign[0]!r}; only standard ONNX can be quantized")
    if opset == OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        raise GraphUnsupported(f"opset {opset} cannot be converted to {OPSET}: {error}") from error


def _folded_by_onnxruntime(model: onnx.ModelProto) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no narrower base
            raise GraphUnsupported(f"ONNX Runtime cannot load the network: {error}") from error
        return onnx.load(options.optimized_model_filepath)


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
