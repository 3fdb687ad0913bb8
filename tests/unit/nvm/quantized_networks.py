"""Small quantized (QDQ) networks at random: residual, leaky, grouped and fully connected layers, any zero points."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 6


def network(seed: int, highest: int = 64, channels: int = 8, group: int = 1) -> onnx.ModelProto:
    """uint8 [1, 6, 6, 4] → convolutions, a residual addition, pool, leaky activation, 5 float logits.

    `highest` bounds the weight codes; `group` is that of one of the convolutions.
    """
    net = _Network(np.random.default_rng(seed), highest)
    stem = net.conv("stem", net.image("image", SIDE, zero_point=114), 4, channels, relu=True)
    inner = net.conv("inner", stem, channels, channels, zero_point=117)
    block = net.add("block", inner, stem)
    strided = net.conv("strided", block, channels, 2 * channels, zero_point=128, strides=[2, 2])
    leaky = net.plain("LeakyRelu", "leaky", strided, zero_point=21, alpha=0.1)
    mixed = net.conv("mixed", leaky, 2 * channels, 2 * channels, relu=True, kernel=1)
    grouped = net.conv("grouped", mixed, 2 * channels, channels, zero_point=30, group=group)
    pooled = net.plain("MaxPool", "pooled", grouped, zero_point=30, kernel_shape=[3, 3], strides=[3, 3])
    return net.logits(net.plain("Flatten", "flat", pooled, zero_point=30), channels, 5)


def photo(seed: int) -> np.ndarray:
    """An input of `network`."""
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 4), np.uint8)


class _Network:
    """Writes QDQ nodes; tensors by name, with their scale and zero point."""

    def __init__(self, rng: np.random.Generator, highest: int) -> None:
        self.rng = rng
        self.highest = highest
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.codes: dict[str, tuple[float, int]] = {}
        self.inputs: list[onnx.ValueInfoProto] = []

    def image(self, name: str, side: int, zero_point: int) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, (1, side, side, 4)))
        self.nodes.append(helper.make_node("Transpose", [name], [f"{name}_nchw"], f"{name}_nchw", perm=[0, 3, 1, 2]))
        self.codes[f"{name}_nchw"] = (1 / 64, zero_point)
        return f"{name}_nchw"

    def conv(
        self,
        name: str,
        source: str,
        inputs: int,
        outputs: int,
        *,
        relu: bool = False,
        zero_point: int = 0,
        group: int = 1,
        kernel: int = 3,
        strides: list[int] | None = None,
    ) -> str:
        weights = self._weights(name, (outputs, inputs // group, kernel, kernel), source)
        attributes = {"pads": [kernel // 2] * 4, "group": group, "strides": strides or [1, 1]}
        value = self._node("Conv", name, [self._read(name, source), *weights], **attributes)
        value = self._node("Relu", f"{name}_relu", [value]) if relu else value
        return self._quantized(name, value, 1 / 64, zero_point)

    def add(self, name: str, left: str, right: str) -> str:
        value = self._node("Add", name, [self._read(f"{name}_0", left), self._read(f"{name}_1", right)])
        return self._quantized(name, self._node("Relu", f"{name}_relu", [value]), 1 / 40, 0)

    def plain(self, operator: str, name: str, source: str, zero_point: int, **attributes: Any) -> str:
        value = self._node(operator, name, [self._read(name, source)], **attributes)
        return self._quantized(name, value, self.codes[source][0], zero_point)

    def logits(self, source: str, inputs: int, classes: int) -> onnx.ModelProto:
        weights = self._weights("logits", (classes, inputs), source)
        node = helper.make_node("Gemm", [self._read("logits", source), *weights], ["logits"], "logits", transB=1)
        self.nodes.append(node)
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, classes))]
        graph = helper.make_graph(self.nodes, "network", self.inputs, outputs, list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def _weights(self, name: str, shape: tuple[int, ...], source: str) -> list[str]:
        codes = self.rng.integers(-self.highest, self.highest + 1, shape).astype(np.int8)
        # Outputs of about the spread of the inputs.
        spread = self.highest * np.sqrt(np.prod(shape[1:]) / 3)
        scales = (self.rng.uniform(0.5, 1.5, shape[0]) / spread).astype(np.float32)
        bias = self.rng.integers(-30, 30, shape[0]).astype(np.int32) * self.highest
        zeros = np.zeros(shape[0])
        kinds = {
            "weight": (codes, scales, zeros.astype(np.int8)),
            "bias": (bias, np.float32(self.codes[source][0]) * scales, zeros.astype(np.int32)),
        }
        for kind, values in kinds.items():
            parts = ("codes", "scale", "zero_point")
            names = [self._constant(f"{name}_{kind}_{part}", value) for part, value in zip(parts, values, strict=True)]
            self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_{kind}"], axis=0))
        return [f"{name}_weight", f"{name}_bias"]

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}_value"], name, **attributes))
        return f"{name}_value"

    def _quantized(self, name: str, value: str, scale: float, zero_point: int) -> str:
        self.codes[name] = (scale, zero_point)
        self.nodes.append(helper.make_node("QuantizeLinear", [value, *self._parameters(name)], [name]))
        return name

    def _read(self, user: str, source: str) -> str:
        self.nodes.append(helper.make_node("DequantizeLinear", [source, *self._parameters(source)], [f"{user}_read"]))
        return f"{user}_read"

    def _parameters(self, name: str) -> list[str]:
        scale, zero_point = self.codes[name]
        return [
            self._constant(f"{name}_scale", np.array(scale, np.float32)),
            self._constant(f"{name}_zero_point", np.array(zero_point, np.uint8)),
        ]

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(value, name)
        return name
