"""Low-bit torch networks as quantized ONNX: the same codes, tensor by tensor, or the export says where not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from edgedet_runtime.backends.onnxruntime import session_options
from onnx import TensorProto, helper
from torch import nn

from edgedet_compression.errors import VerificationFailed
from edgedet_compression.quantization.float_graph import FloatGraph, Node
from edgedet_compression.quantization.integer_arithmetic import IntegerLayer
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.quantization.operations import IMAGE, Operation
from edgedet_compression.quantization.plan import Plan, Step
from edgedet_compression.quantization.qdq import write_qdq
from edgedet_compression.quantization.quantize import Photos, QuantizedNetwork
from edgedet_compression.quantization.ranges import Quantization
from edgedet_compression.quantization.weights import QuantizedWeights

LOGITS = "logits"


def export_low_bit(network: LowBitNetwork, shape: tuple[int, int, int], photos: Photos = ()) -> QuantizedNetwork:
    """Quantized ONNX of a network in evaluation mode: "image" uint8 [1, H, W, 1 or 4] to "logits".

    `shape` is C, H, W. Every tensor's codes are compared between ONNX Runtime and torch on noise and on `photos`,
    inputs as the package gets them.

    Raises:
        VerificationFailed: codes of a tensor differ.
    """
    model = _Export(network, shape).model()
    channels, rows, columns = shape
    depth = 4 if channels == 3 else channels
    noise = np.random.default_rng(0).integers(0, 256, (1, rows, columns, depth), np.uint8)
    _check(network, model, [noise, *photos])
    return QuantizedNetwork(model, heads=(), bits=4)


def _check(network: LowBitNetwork, model: onnx.ModelProto, photos: Photos) -> None:
    channels = network.image.mean.shape[0]
    shown = _showing_all_codes(model, network)
    session = ort.InferenceSession(shown.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    names = [info.name for info in session.get_outputs()]
    for photo in photos:
        pixels = torch.from_numpy(np.ascontiguousarray(photo[..., :channels].transpose(0, 3, 1, 2)))
        wanted = network.codes(pixels)
        for name, found in zip(names, session.run(names, {IMAGE: photo}), strict=True):
            differing = int(np.count_nonzero(found != wanted[name].numpy()))
            if differing:
                raise VerificationFailed(f"tensor {name}: ONNX Runtime and torch differ in {differing} of {found.size}")


def _showing_all_codes(model: onnx.ModelProto, network: LowBitNetwork) -> onnx.ModelProto:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    inner = [operation.name for operation in network.operations[:-1]]
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in inner)
    return shown


class _Export:
    """The network's operations as a graph, a plan and weights, as `write_qdq` takes them."""

    def __init__(self, network: LowBitNetwork, shape: tuple[int, int, int]) -> None:
        channels, rows, columns = shape
        self.network = network
        # A fourth channel, always 255, makes the first layer faster; its weights are 0.
        self.depth = 4 if channels == 3 else channels
        self.graph = FloatGraph(IMAGE, [LOGITS], [], {}, {IMAGE: (1, self.depth, rows, columns)})
        self.names = {network.operations[-1].name: LOGITS}
        self.plan = Plan([], {IMAGE: self._quantization(IMAGE)})
        self.weights: dict[str, QuantizedWeights] = {}

    def model(self) -> onnx.ModelProto:
        for operation in self.network.operations:
            self._add(operation)
        self.graph.infer_shapes()
        return write_qdq(self.graph, self.plan, self.weights)

    def _add(self, operation: Operation) -> None:
        name = self.names.get(operation.name, operation.name)
        inputs = list(operation.sources)
        if operation.kind in {"layer", "choose"}:
            found = self._weights(operation)
            weight, bias = f"{name}_float_weight", f"{name}_float_bias"
            self.graph.constants |= {weight: found.codes.astype(np.float32), bias: found.bias.astype(np.float32)}
            self.weights[name] = found
            inputs += [weight, bias]
        operator, attributes = self._operator(operation)
        node = Node(operator, name, inputs, [name], attributes)
        self.graph.nodes.append(node)
        self.plan.steps.append(Step(node, name, rectified=operation.rectified))
        if name != LOGITS:
            self.plan.quantizations[name] = self._quantization(name)

    def _quantization(self, tensor: str) -> Quantization:
        grid = self.network.grid(tensor)
        return Quantization(float(self.network.scale(tensor)), grid.zero_point, grid.high - grid.low)

    def _weights(self, operation: Operation) -> QuantizedWeights:
        if operation.kind == "choose":
            codes = self.network.selection(operation)
            ones = torch.ones(len(codes))
            return _as_stored(IntegerLayer(codes, ones, torch.zeros(len(codes))))
        integers = self.network.integer_layer(operation)
        missing = self.depth - integers.codes.shape[1] if IMAGE in operation.sources else 0
        padded = torch.nn.functional.pad(integers.codes, (0, 0, 0, 0, 0, missing)) if missing else integers.codes
        return _as_stored(IntegerLayer(padded, integers.scales, integers.bias))

    def _operator(self, operation: Operation) -> tuple[str, dict[str, Any]]:
        if operation.kind == "layer":
            layer = self.network.layer(operation)
            return ("Gemm", {"transB": 1}) if isinstance(layer, nn.Linear) else ("Conv", _conv_attributes(layer))
        if operation.kind == "choose":
            return "Conv", {"kernel_shape": [1, 1], "strides": [operation.stride] * 2}
        if operation.kind == "max pool":
            window = {"kernel_shape": [operation.size] * 2, "strides": [operation.stride] * 2}
            return "MaxPool", {**window, "pads": [operation.padding] * 4}
        if operation.kind == "narrow":
            # A table of codes; what it reads is not negative, so the slope does not matter.
            return "LeakyRelu", {"alpha": 0.0}
        return {"add": "Add", "average": "GlobalAveragePool", "flatten": "Flatten"}[operation.kind], {}


def _conv_attributes(layer: nn.Conv2d) -> dict[str, Any]:
    padding: Sequence[int] = [int(size) for size in layer.padding]
    return {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [*padding, *padding],
        "dilations": list(layer.dilation),
        "group": layer.groups,
    }


def _as_stored(integers: IntegerLayer) -> QuantizedWeights:
    codes: npt.NDArray[np.int8] = integers.codes.to(torch.int8).contiguous().numpy()
    bias: npt.NDArray[np.int32] = integers.bias.to(torch.int32).numpy()
    return QuantizedWeights(codes, integers.scales.numpy(), bias, bits=4)
