"""The committed package, and a small quantized network with a residual, a branch and a fully connected end."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgedet_runtime.package import Package, load_package
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def package(models: Path) -> Package:
    return load_package(models / "yolov3-tiny-coco" / "1")


@pytest.fixture(scope="session")
def residual_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv, conv + skip, pool, sigmoid beside leaky, mean, 10 float logits."""
    net = _Network()
    image = net.transposed("image")
    stem = net.conv("stem", image, 4, 8, relu=True)
    inner = net.conv("inner", stem, 8, 8, zero_point=117)
    added = net.add("added", inner, stem)
    pooled = net.plain("MaxPool", "pooled", [added], kernel_shape=[2, 2], strides=[2, 2])
    left = net.plain("LeakyRelu", "left", [net.conv("left_conv", pooled, 8, 8, zero_point=128)], alpha=0.1)
    right = net.plain("Sigmoid", "right", [pooled], scale=1 / 256)
    joined = net.plain("Concat", "joined", [left, right], scale=0.06, axis=1)
    grown = net.plain("Resize", "grown", [joined])
    last = net.conv("last", grown, 16, 16, relu=True, group=2)
    mean = net.plain("Flatten", "flat", [net.plain("GlobalAveragePool", "mean", [last], scale=0.02)], axis=1)
    return net.finish(mean, inputs=16, classes=10)


@pytest.fixture(scope="session")
def four_bit_network() -> onnx.ModelProto:
    """uint8 [1, 16, 16, 4] → conv, pool, conv, mean, two linear layers → 10 float logits; INT4 weights, codes 0…15."""
    net = _Network(bits=4)
    stem = net.conv("stem", net.transposed("image"), 4, 8, relu=True)
    pooled = net.plain("MaxPool", "pooled", [stem], kernel_shape=[2, 2], strides=[2, 2])
    body = net.conv("body", pooled, 8, 8, relu=True)
    mean = net.plain("Flatten", "flat", [net.plain("GlobalAveragePool", "mean", [body], scale=0.02)], axis=1)
    return net.finish(net.linear("hidden", mean, 8, 12), inputs=12, classes=10)


class _Network:
    """Writes QDQ nodes; codes by name, with their scale and zero point."""

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.codes: dict[str, tuple[float, int]] = {}

    def transposed(self, image: str) -> str:
        self.nodes.append(helper.make_node("Transpose", [image], [f"{image}_nchw"], "enter", perm=[0, 3, 1, 2]))
        self.codes[f"{image}_nchw"] = (1 / 255, 0)
        return f"{image}_nchw"

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
    ) -> str:
        weights = self._weights(name, (outputs, inputs // group, 3, 3), self.codes[source][0])
        value = self._node("Conv", name, [self._read(name, source), *weights], pads=[1, 1, 1, 1], group=group)
        value = self._node("Relu", f"{name}_relu", [value]) if relu else value
        return self._quantized(name, value, 0.05, zero_point)

    def add(self, name: str, left: str, right: str) -> str:
        value = self._node("Add", name, [self._read(f"{name}_0", left), self._read(f"{name}_1", right)])
        return self._quantized(name, self._node("Relu", f"{name}_relu", [value]), 0.07, 0)

    def plain(
        self, operator: str, name: str, sources: list[str], scale: float | None = None, **attributes: object
    ) -> str:
        reads = [self._read(f"{name}_{index}", source) for index, source in enumerate(sources)]
        if operator == "Resize":
            reads += ["", self._constant(f"{name}_scales", np.array([1, 1, 2, 2], np.float32))]
            attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        old_scale, zero_point = self.codes[sources[0]]
        value = self._node(operator, name, reads, **attributes)
        return self._quantized(name, value, scale or old_scale, zero_point if scale is None else 0)

    def linear(self, name: str, source: str, inputs: int, outputs: int) -> str:
        weights = self._weights(name, (outputs, inputs), self.codes[source][0])
        return self._quantized(name, self._node("Gemm", name, [self._read(name, source), *weights], transB=1), 0.01, 0)

    def finish(self, source: str, inputs: int, classes: int) -> onnx.ModelProto:
        weights = self._weights("logits", (classes, inputs), self.codes[source][0])
        self.nodes.append(
            helper.make_node("Gemm", [self._read("logits", source), *weights], ["logits"], "logits", transB=1)
        )
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, (1, 16, 16, 4))
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, classes))
        graph = helper.make_graph(self.nodes, "residual", [image], [logits], list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def _weights(self, name: str, shape: tuple[int, ...], input_scale: float) -> list[str]:
        largest = 64 if self.bits == 8 else 7
        codes = self.rng.integers(-largest, largest + 1, shape).astype(np.int8)
        scales = (self.rng.uniform(0.002, 0.006, shape[0]) * 64 / largest).astype(np.float32)
        bias = self.rng.integers(-500, 500, shape[0]).astype(np.int32)
        zeros = np.zeros(shape[0])
        kinds = {
            "weight": (codes, scales, zeros.astype(np.int8)),
            "bias": (bias, np.float32(input_scale) * scales, zeros.astype(np.int32)),
        }
        for kind, values in kinds.items():
            parts = ("codes", "scale", "zero_point")
            names = [self._constant(f"{name}_{kind}_{part}", value) for part, value in zip(parts, values, strict=True)]
            if kind == "weight" and self.bits == 4:
                packed = helper.make_tensor(names[0], TensorProto.INT4, codes.shape, codes.ravel())
                self.constants[names[0]] = packed
                self.nodes.append(helper.make_node("Cast", [names[0]], [f"{names[0]}_8"], to=TensorProto.INT8))
                names[0] = f"{names[0]}_8"
            self.nodes.append(helper.make_node("DequantizeLinear", names, [f"{name}_{kind}"], axis=0))
        return [f"{name}_weight", f"{name}_bias"]

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}_value"], name, **attributes))
        return f"{name}_value"

    def _quantized(self, name: str, value: str, scale: float, zero_point: int) -> str:
        self.codes[name] = (scale, zero_point)
        if self.bits == 8 or "pooled" in name or "flat" in name:
            self.nodes.append(helper.make_node("QuantizeLinear", [value, *self._parameters(name)], [name]))
        else:
            free = f"{name}_free"
            self.nodes.append(helper.make_node("QuantizeLinear", [value, *self._parameters(name)], [free]))
            limit = self._constant("most", np.uint8(15))
            self.nodes.append(helper.make_node("Min", [free, limit], [name], f"{name}_held"))
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
