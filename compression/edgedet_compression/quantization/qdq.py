"""Writes a quantized graph in the QDQ form that ONNX Runtime fuses into integer kernels from end to end.

uint8 codes everywhere, scalar scales, int8 weights per output channel, int32 biases; the image comes in as NHWC
codes, feature-map outputs leave as NHWC codes, a fully connected output leaves as float32. Weights of 4 bits are stored
as INT4 behind a Cast, which is folded at load (INT4 right into DequantizeLinear would not fuse); codes that end before
255 are held by a Min of uint8 (a float Clip would not fuse).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet_compression.networks.graph_builder import as_model
from edgedet_compression.quantization.float_graph import FloatGraph
from edgedet_compression.quantization.plan import MOVERS, Plan, Step
from edgedet_compression.quantization.ranges import LEVELS, Quantization
from edgedet_compression.quantization.weights import QuantizedWeights

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def write_qdq(graph: FloatGraph, plan: Plan, weights: Mapping[str, QuantizedWeights]) -> onnx.ModelProto:
    """The quantized model; `weights` by the name of their node."""
    writer = _Writer(graph, plan, weights)
    for step in plan.steps:
        writer.add(step)
    return writer.model()


class _Writer:
    def __init__(self, graph: FloatGraph, plan: Plan, weights: Mapping[str, QuantizedWeights]) -> None:
        self.graph = graph
        self.plan = plan
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.outputs: list[onnx.ValueInfoProto] = []
        batch, channels, height, width = graph.shapes[graph.input]
        shape = [batch, height, width, channels]
        self.input = helper.make_tensor_value_info(graph.input, TensorProto.UINT8, shape)
        self._node("Transpose", f"{graph.input}_nchw", [graph.input], perm=_TO_NCHW)
        # Codes by tensor: the tensor's own name, but for the network's ends, whose names are the NHWC ones.
        self.codes = {graph.input: f"{graph.input}_nchw"}

    def add(self, step: Step) -> None:
        node = step.node
        attributes = {key: value for key, value in node.attributes.items() if value is not None}
        if node.operator in {"Conv", "Gemm"}:
            inputs = [self._dequantized(node.inputs[0], node.name), *self._weights(step)]
        elif node.operator in {"Add", "Concat"}:
            inputs = [self._dequantized(name, f"{node.name}_{i}") for i, name in enumerate(node.inputs)]
        elif node.operator == "Resize":
            inputs = [self._dequantized(node.inputs[0], node.name), "", self._scales(step)]
            attributes = {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }
        else:
            inputs = [self._dequantized(node.inputs[0], node.name)]
        if node.operator == "Gemm" and step.output in self.graph.outputs:
            self._node("Gemm", step.output, inputs, **attributes)
            shape = list(self.graph.shapes[step.output])
            self.outputs.append(helper.make_tensor_value_info(step.output, TensorProto.FLOAT, shape))
            return
        result = self._node(node.operator, f"{step.output}_value", inputs, **attributes)
        self._quantized(step.output, result, held=node.operator not in MOVERS)

    def model(self) -> onnx.ModelProto:
        order = {name: index for index, name in enumerate(self.graph.outputs)}
        outputs = sorted(self.outputs, key=lambda info: order[info.name])
        graph = helper.make_graph(self.nodes, "quantized", [self.input], outputs, list(self.constants.values()))
        return as_model(graph)

    def _quantized(self, tensor: str, value: str, *, held: bool) -> None:
        is_map = tensor in self.graph.outputs and len(self.graph.shapes[tensor]) == 4
        codes = f"{tensor}_nchw" if is_map else tensor
        scale, zero_point = self._parameters(tensor)
        most = self.plan.quantizations[tensor].most
        if held and most < LEVELS:
            self._node("QuantizeLinear", f"{codes}_unheld", [value, scale, zero_point])
            limit = self._constant(f"{tensor}_most", np.array(most, np.uint8))
            self._node("Min", codes, [f"{codes}_unheld", limit])
        else:
            self._node("QuantizeLinear", codes, [value, scale, zero_point])
        self.codes[tensor] = codes
        if is_map:
            batch, channels, height, width = self.graph.shapes[tensor]
            self._node("Transpose", tensor, [codes], perm=_TO_NHWC)
            shape = [batch, height, width, channels]
            self.outputs.append(helper.make_tensor_value_info(tensor, TensorProto.UINT8, shape))
        elif tensor in self.graph.outputs:
            shape = list(self.graph.shapes[tensor])
            self.outputs.append(helper.make_tensor_value_info(tensor, TensorProto.UINT8, shape))

    def _dequantized(self, tensor: str, reader: str) -> str:
        """A DequantizeLinear of its own for every reader: shared ones keep operators from fusing."""
        scale, zero_point = self._parameters(tensor)
        return self._node("DequantizeLinear", f"{reader}_read", [self.codes[tensor], scale, zero_point])

    def _parameters(self, tensor: str) -> tuple[str, str]:
        """Scale and zero point, of rank 0: with shape [1] some operators do not fuse."""
        quantization: Quantization = self.plan.quantizations[tensor]
        return (
            self._constant(f"{tensor}_scale", np.array(quantization.scale, np.float32)),
            self._constant(f"{tensor}_zero_point", np.array(quantization.zero_point, np.uint8)),
        )

    def _weights(self, step: Step) -> tuple[str, str]:
        scale = self.plan.quantizations[step.node.inputs[0]].scale
        return self._weight_nodes(step.output, self.weights[step.node.name], np.float32(scale))

    def _weight_nodes(self, name: str, found: QuantizedWeights, input_scale: np.float32) -> tuple[str, str]:
        zeros = np.zeros(len(found.scales))
        codes = f"{name}_weight_codes"
        if found.bits == 4:
            stored = f"{codes}_int4"
            self.constants.setdefault(stored, _int4(stored, found.codes))
            self._node("Cast", codes, [stored], to=TensorProto.INT8)
        else:
            self._constant(codes, found.codes)
        self._constant(f"{name}_bias_codes", found.bias)
        parts: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {
            "weight": (found.scales, zeros.astype(np.int8)),
            "bias": (found.scales * input_scale, zeros.astype(np.int32)),
        }
        made = [
            self._node(
                "DequantizeLinear",
                f"{name}_{part}",
                [
                    f"{name}_{part}_codes",
                    self._constant(f"{name}_{part}_scale", scales),
                    self._constant(f"{name}_{part}_zero_point", zero_points),
                ],
                axis=0,
            )
            for part, (scales, zero_points) in parts.items()
        ]
        return made[0], made[1]

    def _scales(self, step: Step) -> str:
        before = self.graph.shapes[step.node.inputs[0]]
        after = self.graph.shapes[step.output]
        factors = np.array([b / a for a, b in zip(before, after, strict=True)], np.float32)
        return self._constant(f"{step.output}_factors", factors)

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def _node(self, operator: str, output: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _int4(name: str, codes: npt.NDArray[np.int8]) -> onnx.TensorProto:
    """Two codes a byte, the first in the lower half (onnx.proto: INT4)."""
    halves = np.append(codes.ravel(), np.zeros(codes.size % 2, np.int8)).view(np.uint8) & 0xF
    packed = halves[::2] | (halves[1::2] << 4)
    return helper.make_tensor(name, TensorProto.INT4, codes.shape, packed.tobytes(), raw=True)
