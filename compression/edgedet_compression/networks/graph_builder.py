"""Writes float ONNX graphs layer by layer: NCHW, batch 1, opset 21."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
IR_VERSION = 10  # what ONNX Runtime 1.18 and later read; opset 21 needs no newer one

FloatArray = npt.NDArray[np.float32]


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """The graph as a checked model of this package's opset, with all shapes inferred."""
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgedet",
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    return model


class GraphBuilder:
    """Collects layers; every method returns the name of the tensor it makes, which is the node's name too."""

    def __init__(self, name: str, input_shape: Sequence[int], input_name: str = "image") -> None:
        self.name = name
        self.input = helper.make_tensor_value_info(input_name, TensorProto.FLOAT, list(input_shape))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def conv(
        self,
        name: str,
        source: str,
        weight: FloatArray,
        bias: FloatArray,
        *,
        stride: int = 1,
        padding: int = 0,
        group: int = 1,
    ) -> str:
        """Convolution with weight [out, in/group, k, k], bias [out] and the same padding on all sides."""
        self._constant(f"{name}_weight", weight)
        self._constant(f"{name}_bias", bias)
        return self._node(
            "Conv",
            name,
            [source, f"{name}_weight", f"{name}_bias"],
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[padding] * 4,
            group=group,
        )

    def linear(self, name: str, source: str, weight: FloatArray, bias: FloatArray) -> str:
        """Fully connected layer with weight [out, in]."""
        self._constant(f"{name}_weight", weight)
        self._constant(f"{name}_bias", bias)
        return self._node("Gemm", name, [source, f"{name}_weight", f"{name}_bias"], transB=1)

    def max_pool(self, name: str, source: str, size: int, stride: int, pads: tuple[int, int, int, int]) -> str:
        """Maximum over size x size windows; pads are top, left, bottom, right."""
        return self._node(
            "MaxPool", name, [source], kernel_shape=[size, size], strides=[stride, stride], pads=list(pads)
        )

    def upsample(self, name: str, source: str, factor: int) -> str:
        """Each pixel repeated factor x factor times."""
        self._constant(f"{name}_scales", np.array([1, 1, factor, factor], np.float32))
        return self._node(
            "Resize",
            name,
            [source, "", f"{name}_scales"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def leaky_relu(self, name: str, source: str, slope: float) -> str:
        """x, or slope·x where x is negative."""
        return self._node("LeakyRelu", name, [source], alpha=slope)

    def concat(self, name: str, sources: Sequence[str]) -> str:
        """Channels of all sources, one after the other."""
        return self._node("Concat", name, list(sources), axis=1)

    def apply(self, operator: str, name: str, sources: Sequence[str]) -> str:
        """An operator without attributes: Relu, Add, GlobalAveragePool, Flatten."""
        return self._node(operator, name, list(sources))

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The finished, checked model."""
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, self.name, [self.input], infos, self.initializers)
        return as_model(graph)

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> None:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name
