"""Writes the nodes and constants that replace one layer."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class LayerWriter:
    """Collects nodes; names start with the layer's, so that they are unique in the network."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; gives the output's full name."""
        return self.final(operator, inputs, f"{self.layer}:{output}", **attributes)

    def final(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node whose output keeps the name that the network knows."""
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def split(self, values: str, parts: int, label: str) -> list[str]:
        """Split a map's channels into equal parts."""
        names = [f"{self.layer}:{label}_part{index}" for index in range(parts)]
        self.nodes.append(helper.make_node("Split", [values], names, names[0], axis=1, num_outputs=parts))
        return names

    def rename_last(self, output: str) -> str:
        """Give the last node's output another name."""
        self.nodes[-1].output[0] = output
        return output

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add a constant; scalars stay scalars."""
        full = f"{self.layer}:{name}"
        self.constants[full] = numpy_helper.from_array(np.asarray(value), full)
        return full

    def shape(self, *sizes: int) -> str:
        """A constant shape."""
        return self.constant(f"shape_{'x'.join(map(str, sizes))}", np.array(sizes, np.int64))
