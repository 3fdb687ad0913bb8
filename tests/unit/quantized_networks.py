"""Small quantized (QDQ) networks at random: residual, leaky, grouped and fully connected layers, any zero points."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 6
HEADS = ("first", "second")
_LEVELS = {8: 64, 4: 7}
"""The largest weight code by bits."""


def network(seed: int, highest: int = 64, channels: int = 8, group: int = 1) -> onnx.ModelProto:
    """uint8 [1, 6, 6, 4] → convolutions, a residual addition, pool, leaky activation, 5 float logits.

    `highest` bounds the weight codes; `group` is that of one of the convolutions.
    """
    net = _Writer(np.random.default_rng(seed), highest)
    stem = net.conv("stem", net.image(SIDE, zero_point=114), 4, channels, relu=True)
    inner = net.conv("inner", stem, channels, channels, zero_point=117)
    block = net.add("block", inner, stem)
    strided = net.conv("strided", block, channels, 2 * channels, zero_point=128, strides=[2, 2])
    leaky = net.plain("LeakyRelu", "leaky", strided, zero_point=21, alpha=0.1)
    mixed = net.conv("mixed", leaky, 2 * channels, 2 * channels, relu=True, kernel=1)
    grouped = net.conv("grouped", mixed, 2 * channels, channels, zero_point=30, group=group)
    pooled = net.plain("MaxPool", "pooled", grouped, kernel_shape=[3, 3], strides=[3, 3])
    return net.logits(net.plain("Flatten", "flat", pooled), channels, 5)


def photo(seed: int) -> np.ndarray:
    """An input of `network`."""
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 4), np.uint8)


def branched_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv, conv + skip, pool, sigmoid beside leaky, mean, 10 float logits."""
    net = _Writer(np.random.default_rng(7))
    stem = net.conv("stem", net.image(16), 4, 8, relu=True)
    added = net.add("added", net.conv("inner", stem, 8, 8, zero_point=117), stem)
    pooled = net.plain("MaxPool", "pooled", added, kernel_shape=[2, 2], strides=[2, 2])
    left = net.plain("LeakyRelu", "left", net.conv("left_conv", pooled, 8, 8, zero_point=128), alpha=0.1)
    right = net.plain("Sigmoid", "right", pooled, scale=1 / 256, zero_point=0)
    joined = net.plain("Concat", "joined", left, right, scale=0.03, zero_point=0, axis=1)
    last = net.conv("last", net.doubled("grown", joined), 16, 16, relu=True, group=2)
    mean = net.plain("Flatten", "flat", net.plain("GlobalAveragePool", "mean", last, scale=1 / 128), axis=1)
    return net.logits(mean, inputs=16, classes=10)


def recoding_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv, then a pool and a flattening whose codes have other scales → 10 float logits."""
    net = _Writer(np.random.default_rng(7))
    stem = net.conv("stem", net.image(16), 4, 8, relu=True)
    pooled = net.plain("MaxPool", "pooled", stem, scale=0.07, zero_point=3, kernel_shape=[4, 4], strides=[4, 4])
    flat = net.plain("Flatten", "flat", pooled, scale=0.05, zero_point=9, axis=1)
    return net.logits(flat, inputs=8 * 4 * 4, classes=10)


def four_bit_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv, pool, conv, mean, two linear layers → 10 float logits; INT4 weights, codes 0…15."""
    net = _Writer(np.random.default_rng(7), bits=4)
    stem = net.conv("stem", net.image(16), 4, 8, relu=True)
    pooled = net.plain("MaxPool", "pooled", stem, kernel_shape=[2, 2], strides=[2, 2])
    body = net.conv("body", pooled, 8, 8, relu=True)
    mean = net.plain("Flatten", "flat", net.plain("GlobalAveragePool", "mean", body, scale=1 / 64), axis=1)
    return net.logits(net.linear("hidden", mean, 8, 12, scale=1 / 32), inputs=12, classes=10)


def two_headed_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv → `first`, which is read again → conv → `second`; both uint8 [1, 16, 16, 8]."""
    net = _Writer(np.random.default_rng(7))
    net.head("first", net.conv("stem", net.image(16), 4, 8, relu=True))
    net.head("second", net.conv("body", net.entered("first"), 8, 8))
    return net.model([helper.make_tensor_value_info(name, TensorProto.UINT8, (1, 16, 16, 8)) for name in HEADS])


def wide_layer(channels: int, zero_point: int) -> onnx.ModelProto:
    """uint8 [1, 3, 3, channels] → one convolution of 3 × 3, 5 float logits."""
    net = _Writer(np.random.default_rng(7))
    conv = net.conv("conv", net.image(3, zero_point, channels), channels, 2)
    return net.logits(net.plain("Flatten", "flat", conv), 2 * 3 * 3, 5)


class _Writer:
    """Writes QDQ nodes; tensors by name, with their scale and zero point."""

    def __init__(self, rng: np.random.Generator, highest: int | None = None, bits: int = 8) -> None:
        self.rng = rng
        self.highest = highest or _LEVELS[bits]
        self.bits = bits
        # Values from 0 to 4 have codes.
        self.scale = 4 / 2**bits
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.codes: dict[str, tuple[float, int]] = {}
        self.inputs: list[onnx.ValueInfoProto] = []

    def image(self, side: int, zero_point: int = 0, channels: int = 4) -> str:
        self.inputs.append(helper.make_tensor_value_info("image", TensorProto.UINT8, (1, side, side, channels)))
        self.nodes.append(helper.make_node("Transpose", ["image"], ["image_nchw"], "enter", perm=[0, 3, 1, 2]))
        self.codes["image_nchw"] = (1 / 64, zero_point)
        return "image_nchw"

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
        return self._held(name, value, self.scale, zero_point)

    def linear(self, name: str, source: str, inputs: int, outputs: int, scale: float) -> str:
        weights = self._weights(name, (outputs, inputs), source)
        return self._held(name, self._node("Gemm", name, [self._read(name, source), *weights], transB=1), scale, 0)

    def add(self, name: str, left: str, right: str) -> str:
        value = self._node("Add", name, [self._read(f"{name}_0", left), self._read(f"{name}_1", right)])
        return self._quantized(name, self._node("Relu", f"{name}_relu", [value]), 1.6 * self.scale, 0)

    def plain(
        self,
        operator: str,
        name: str,
        *sources: str,
        scale: float | None = None,
        zero_point: int | None = None,
        **about: Any,
    ) -> str:
        """An operator without weights; scale and zero point are those of its first source, if not given."""
        reads = [self._read(f"{name}_{place}", source) for place, source in enumerate(sources)]
        value = self._node(operator, name, reads, **about)
        old_scale, old_zero_point = self.codes[sources[0]]
        write = self._held if scale else self._quantized
        return write(name, value, scale or old_scale, old_zero_point if zero_point is None else zero_point)

    def doubled(self, name: str, source: str) -> str:
        """Twice as many rows and columns."""
        scales = self._constant(f"{name}_scales", np.array([1, 1, 2, 2], np.float32))
        about = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        value = self._node("Resize", name, [self._read(name, source), "", scales], **about)
        return self._quantized(name, value, *self.codes[source])

    def head(self, name: str, source: str) -> None:
        """An output of the network, NHWC."""
        self.nodes.append(helper.make_node("Transpose", [source], [name], f"{name}_leave", perm=[0, 2, 3, 1]))
        self.codes[name] = self.codes[source]

    def entered(self, name: str) -> str:
        """A head that is read again, NCHW."""
        self.nodes.append(helper.make_node("Transpose", [name], [f"{name}_nchw"], f"{name}_enter", perm=[0, 3, 1, 2]))
        self.codes[f"{name}_nchw"] = self.codes[name]
        return f"{name}_nchw"

    def logits(self, source: str, inputs: int, classes: int) -> onnx.ModelProto:
        weights = self._weights("logits", (classes, inputs), source)
        node = helper.make_node("Gemm", [self._read("logits", source), *weights], ["logits"], "logits", transB=1)
        self.nodes.append(node)
        return self.model([helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, classes))])

    def model(self, outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
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
            if kind == "weight" and self.bits == 4:
                names[0] = self._packed(names[0], codes)
            self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_{kind}"], axis=0))
        return [f"{name}_weight", f"{name}_bias"]

    def _packed(self, name: str, codes: np.ndarray) -> str:
        """Two codes in a byte, behind a Cast."""
        self.constants[name] = helper.make_tensor(name, TensorProto.INT4, codes.shape, codes.ravel())
        self.nodes.append(helper.make_node("Cast", [name], [f"{name}_8"], to=TensorProto.INT8))
        return f"{name}_8"

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}_value"], name, **attributes))
        return f"{name}_value"

    def _held(self, name: str, value: str, scale: float, zero_point: int) -> str:
        """Codes of a new scale: of 4 bits they are held by a Min."""
        if self.bits == 8:
            return self._quantized(name, value, scale, zero_point)
        free = self._quantized(f"{name}_free", value, scale, zero_point)
        self.nodes.append(helper.make_node("Min", [free, self._constant("most", np.uint8(15))], [name], f"{name}_held"))
        self.codes[name] = self.codes[free]
        return name

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
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name
