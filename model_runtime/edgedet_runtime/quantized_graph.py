"""A reader of quantized (QDQ) ONNX graphs: layers, their codes, scales and shapes.

The form: uint8 activations, ``DequantizeLinear → operator [→ Relu] → QuantizeLinear`` around every operator,
int8 weights per output channel with zero point 0, int32 biases; operators that only move codes (Transpose, Reshape) may
stand between uint8 tensors. Weights may be stored in 4 bits behind a Cast; a Min by a constant holds activations to
fewer codes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgedet_runtime.errors import GraphUnsupported

Integer = TypeVar("Integer", np.int8, np.int32)
WITH_WEIGHTS = frozenset({"Conv", "Gemm"})
BETWEEN_CODES = frozenset({"Min", "Reshape", "Transpose"})
_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}
_KEEPING_CODES = BETWEEN_CODES | {"Flatten", "MaxPool", "Resize"}
LARGEST_CODE = 255
SUPPORTED = WITH_WEIGHTS | BETWEEN_CODES | {
    "Add", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Resize", "Sigmoid",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Codes:
    """A tensor between layers; value = scale · (code − zero_point). A float32 output has no scale."""

    name: str
    shape: tuple[int, ...]
    scale: np.float32 | None
    zero_point: int
    most: int = LARGEST_CODE
    """The largest code that it can have; 15 where activations have 4 bits."""

    @property
    def is_float(self) -> bool:
        """Whether the tensor holds float32 values instead of uint8 codes."""
        return self.scale is None


@dataclass(frozen=True, slots=True)
class Weights:
    """Int8 codes (Conv [out, in/group, rows, columns]; Gemm [out, in]), float32 scales [out], int32 bias [out]."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the network with all that decides its output codes."""

    name: str
    op: str
    inputs: tuple[Codes, ...]
    output: Codes
    weights: Weights | None
    attributes: Mapping[str, Any]
    relu: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates per photo as kernels execute them: weights that are 0 count."""
        if self.weights is None:
            return 0
        spatial = int(np.prod(self.output.shape[2:], dtype=np.int64))
        return int(self.weights.codes.size) * spatial


@dataclass(frozen=True, slots=True)
class QuantizedGraph:
    """Layers in the graph's order; inputs and outputs of the graph by name."""

    layers: tuple[Layer, ...]
    inputs: tuple[Codes, ...]
    outputs: tuple[Codes, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole graph."""
        return sum(layer.macs for layer in self.layers)


def read_quantized_graph(model: onnx.ModelProto) -> QuantizedGraph:
    """Read a QDQ model (batch 1, static shapes).

    Raises:
        GraphUnsupported: naming the node and the operator that does not have the form, where that can be told.
    """
    try:
        return _Reader(model).read()
    except (IndexError, KeyError, TypeError, ValueError) as error:
        # Graphs of other tools can be at odds with the form in more ways than are told apart.
        raise GraphUnsupported(f"the graph does not have the form that is read: {error}") from error


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        try:
            graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise GraphUnsupported(f"the graph's shapes cannot be told: {error}") from error
        self.graph = graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and "value" in (attributes := _attributes(node)):
                self.constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
        self.producers = {output: node for node in graph.node for output in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.most: dict[str, int] = {}
        values = [*graph.value_info, *graph.input, *graph.output]
        self.shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}

    def read(self) -> QuantizedGraph:
        if self._is_float():
            raise GraphUnsupported("the network computes in float: quantize it with `edgedet-compress build`")
        layers = tuple(self._layers())
        known = {codes.name: codes for layer in layers for codes in (*layer.inputs, layer.output)}
        inputs = tuple(self._end(value.name, known) for value in self.graph.input)
        return QuantizedGraph(layers, inputs, tuple(self._end(value.name, known) for value in self.graph.output))

    def _is_float(self) -> bool:
        kinds = {node.op_type for node in self.graph.node}
        types = {value.type.tensor_type.elem_type for value in self.graph.input}
        if onnx.TensorProto.FLOAT in types:
            return "QuantizeLinear" not in kinds
        return bool(kinds & {"Conv", "Gemm", "MatMul"}) and not kinds & {"QuantizeLinear", "DequantizeLinear"}

    def _end(self, name: str, known: Mapping[str, Codes]) -> Codes:
        if name not in known:
            raise GraphUnsupported(f"graph input or output {name!r} is not a layer's")
        return known[name]

    def _layers(self) -> Iterator[Layer]:
        for node in self.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Relu", "Cast", "Constant"):
                continue
            if node.op_type == "Min" and node.input[0] in self.producers:
                continue  # part of the layer that makes the codes; a layer only right behind the graph's input
            if node.op_type not in SUPPORTED:
                raise GraphUnsupported(f"node {node.name!r}: operator {node.op_type} is not read")
            yield self._moved(node) if node.op_type in BETWEEN_CODES else self._computed(node)

    def _moved(self, node: onnx.NodeProto) -> Layer:
        """A layer that permutes, reshapes or holds uint8 codes; scale and zero point are its neighbors' business."""
        source = self._known(node.input[0], np.float32(1), 0)
        made = node.input[0] if node.op_type == "Min" else node.output[0]
        target = self._known(self._held(made, source.most), np.float32(1), 0)
        return Layer(node.name, node.op_type, (source,), target, None, _attributes(node), relu=False)

    def _computed(self, node: onnx.NodeProto) -> Layer:
        attributes = _attributes(node)
        if attributes.get("auto_pad", "NOTSET") != "NOTSET" or attributes.get("ceil_mode", 0):
            raise GraphUnsupported(f"node {node.name!r} ({node.op_type}): needs its pads in numbers, and no ceil_mode")
        weights = None
        names = list(node.input)
        if node.op_type in WITH_WEIGHTS:
            weights, names = self._weights(node, attributes), names[:1]
        elif node.op_type == "Resize":
            attributes["scales"], names = self._resize_scales(node), names[:1]
        inputs = tuple(self._operand(node, name) for name in names)
        most = inputs[0].most if node.op_type in _KEEPING_CODES else LARGEST_CODE
        output, relu = self._output(node, most)
        return Layer(node.name, node.op_type, inputs, output, weights, attributes, relu)

    def _operand(self, node: onnx.NodeProto, name: str) -> Codes:
        producer = self.producers.get(name)
        if producer is None or producer.op_type != "DequantizeLinear":
            raise GraphUnsupported(f"node {node.name!r} ({node.op_type}): input {name!r} is not dequantized codes")
        return self._codes(producer, producer.input[0])

    def _codes(self, node: onnx.NodeProto, name: str) -> Codes:
        if len(node.input) < 3:
            raise GraphUnsupported(f"node {node.name!r}: activations need a zero point")
        scale, zero_point = self._constant(node.input[1]), self._constant(node.input[2])
        if scale.ndim or zero_point.ndim or zero_point.dtype != np.uint8:
            raise GraphUnsupported(f"node {node.name!r}: activations need a scalar scale and a scalar uint8 zero point")
        return self._known(name, np.float32(scale), int(zero_point))

    def _known(self, name: str, scale: np.float32, zero_point: int) -> Codes:
        return Codes(name, self._shape(name), scale, zero_point, self.most.get(name, LARGEST_CODE))

    def _held(self, name: str, most: int) -> str:
        """Codes up to `most` that a layer makes, behind the Min that holds them, where there is one."""
        users = self.consumers.get(name, [])
        hold = next((user for user in users if user.op_type == "Min"), None)
        if hold is not None:
            limits = [constant for constant in hold.input if constant in self.constants]
            if len(users) != 1 or len(hold.input) != 2 or len(limits) != 1 or self._constant(limits[0]).size != 1:
                raise GraphUnsupported(
                    f"node {hold.name!r} (Min): must hold codes to one constant, and alone read them"
                )
            name, most = hold.output[0], min(most, int(self._constant(limits[0]).item()))
        self.most[name] = most
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.shapes.get(name, ())
        if not shape or not all(shape):
            raise GraphUnsupported(f"tensor {name!r}: its shape must be told in numbers, batch 1")
        return shape

    def _output(self, node: onnx.NodeProto, most: int) -> tuple[Codes, bool]:
        name, relu = node.output[0], False
        users = self.consumers.get(name, [])
        if len(users) == 1 and users[0].op_type == "Relu":
            name, relu = users[0].output[0], True
            users = self.consumers.get(name, [])
        if not users:
            return Codes(name, self._shape(name), None, 0), relu
        if len(users) != 1 or users[0].op_type != "QuantizeLinear":
            raise GraphUnsupported(f"node {node.name!r} ({node.op_type}): its output is not quantized")
        return self._codes(users[0], self._held(users[0].output[0], most)), relu

    def _weights(self, node: onnx.NodeProto, attributes: Mapping[str, Any]) -> Weights:
        codes, scales = self._dequantized_constant(node, node.input[1], np.int8)
        if node.op_type == "Conv" and codes.ndim != 4:
            raise GraphUnsupported(f"node {node.name!r} (Conv): weights must be [out, in/group, rows, columns]")
        if node.op_type == "Gemm" and not attributes.get("transB", 0):
            raise GraphUnsupported(f"node {node.name!r} (Gemm): weights must be [out, in] with transB = 1")
        if any(attributes.get(name, plain) != plain for name, plain in _PLAIN_GEMM.items()):
            raise GraphUnsupported(f"node {node.name!r} (Gemm): alpha and beta must be 1, transA 0")
        bias = np.zeros(len(codes), np.int32)
        if len(node.input) > 2:
            bias, bias_scales = self._dequantized_constant(node, node.input[2], np.int32)
            source = self._operand(node, node.input[0])
            if source.scale is None or not _equal_scales(bias_scales, source.scale * scales, len(codes)):
                raise GraphUnsupported(f"node {node.name!r} ({node.op_type}): its bias needs the scale input · weights")
        return Weights(codes, np.broadcast_to(scales, len(codes)).astype(np.float32), bias)

    def _dequantized_constant(
        self, node: onnx.NodeProto, name: str, kind: type[Integer]
    ) -> tuple[NDArray[Integer], NDArray[np.float32]]:
        producer = self.producers.get(name)
        if producer is None or producer.op_type != "DequantizeLinear":
            raise GraphUnsupported(f"node {node.name!r} ({node.op_type}): constant {name!r} is not quantized")
        codes, scales, *zero_point = (self._constant(given) for given in producer.input)
        fitting = codes.astype(kind)
        if any(np.any(zero) for zero in zero_point) or not np.array_equal(fitting, codes):
            raise GraphUnsupported(
                f"node {node.name!r} ({node.op_type}): constant {name!r} must be {np.dtype(kind)} with zero point 0"
            )
        return fitting, scales

    def _constant(self, name: str) -> NDArray[Any]:
        """A constant, also one stored in 4 bits behind a Cast."""
        while name not in self.constants:
            producer = self.producers.get(name)
            if producer is None or producer.op_type != "Cast":
                raise GraphUnsupported(f"tensor {name!r} is not a constant")
            name = producer.input[0]
        return np.asarray(self.constants[name])

    def _resize_scales(self, node: onnx.NodeProto) -> tuple[int, ...]:
        scales = self._constant(node.input[2])
        attributes = _attributes(node)
        fits = (
            attributes.get("mode", "nearest") == "nearest"
            and attributes.get("coordinate_transformation_mode") == "asymmetric"
            and attributes.get("nearest_mode") == "floor"
            and bool(np.all(scales == np.rint(scales)))
        )
        if not fits:
            raise GraphUnsupported(f"node {node.name!r} (Resize): only nearest, asymmetric, floor, by whole factors")
        return tuple(int(scale) for scale in scales)


def _equal_scales(found: NDArray[np.float32], wanted: NDArray[np.float32], channels: int) -> bool:
    """Of each channel, or one for all."""
    return {found.size, wanted.size} <= {1, channels} and np.allclose(found, wanted, rtol=1e-5, atol=0)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
