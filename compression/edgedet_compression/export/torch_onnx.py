"""Torch networks as float ONNX, equal to torch: batch 1, BatchNorm folded into the layer before it.

The graph comes from `torch.export`, operator by operator; no exporter of torch's own is needed (the old one is on its
way out, the new one wants two packages more).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from edgedet_runtime.errors import GraphUnsupported
from numpy.typing import NDArray
from torch import nn
from torch.fx import Node

from edgedet_compression.errors import VerificationFailed
from edgedet_compression.known_models import FloatModel
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.graph_builder import FloatArray, GraphBuilder

_TOLERANCE = 1e-4
"""Largest difference of an output to torch's, as a share of its largest value (at least of 1)."""


def export_onnx(network: nn.Module, shape: tuple[int, int, int], images: Sequence[FloatArray] = ()) -> onnx.ModelProto:
    """Float ONNX (opset 21) of a network in evaluation mode: "image" [1, C, H, W] to "head_<stride>" or "logits".

    `shape` is C, H, W. ONNX Runtime and torch are compared on noise and on `images`, float32 [1, C, H, W] as the
    network wants them.

    Raises:
        GraphUnsupported: an operator that has no form here, by name.
        VerificationFailed: an output differs from torch's.
    """
    noise = np.random.default_rng(0).uniform(0, 1, (1, *shape)).astype(np.float32)
    program = torch.export.export(network.eval(), (torch.from_numpy(noise),))
    model = _Walk(program, shape, _output_names(network)).model()
    _check(network, model, [noise, *images])
    return model


def float_model(
    network: nn.Module,
    labels: tuple[str, ...],
    shape: tuple[int, int, int],
    parent: str,
    images: Sequence[FloatArray] = (),
) -> FloatModel:
    """The exported network with what its outputs mean, as `building.build_trained` takes it.

    Raises:
        GraphUnsupported, VerificationFailed: as `export_onnx` does.
    """
    anchors = tuple(head.anchors for head in network.heads) if isinstance(network, DarknetModule) else ()
    return FloatModel(export_onnx(network, shape, images), anchors, labels, parent)


def _output_names(network: nn.Module) -> list[str]:
    return [f"head_{head.stride}" for head in network.heads] if isinstance(network, DarknetModule) else ["logits"]


def _check(network: nn.Module, model: onnx.ModelProto, images: Sequence[FloatArray]) -> None:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for image in images:
        with torch.no_grad():
            answer = network(torch.from_numpy(image))
        wanted = [answer] if isinstance(answer, torch.Tensor) else answer
        for info, tensor, found in zip(session.get_outputs(), wanted, session.run(None, {"image": image}), strict=True):
            exact = tensor.numpy()
            difference = float(np.abs(found - exact).max())
            if not difference <= _TOLERANCE * max(1.0, float(np.abs(exact).max())):
                raise VerificationFailed(f"output {info.name}: ONNX Runtime and torch differ by {difference:.2g}")


class _Walk:
    """Turns the nodes of an exported program into layers, one after the other."""

    def __init__(self, program: torch.export.ExportedProgram, shape: tuple[int, int, int], outputs: list[str]) -> None:
        self.graph = GraphBuilder("network", (1, *shape))
        self.tensors: dict[Node, str] = {}
        """Names in the graph of what nodes compute."""
        self.margins: dict[Node, list[int]] = {}
        """Of nodes that pad by -∞: left, right, top, bottom, for the MaxPool that follows."""
        signature = program.graph_signature
        self._targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self._state = {**program.state_dict, **program.constants}  # buffers that no state dict keeps are constants
        self._outputs = outputs
        (last,) = (node for node in program.graph.nodes if node.op == "output")
        self._names = dict(zip(last.args[0], outputs, strict=True))
        for node in program.graph.nodes:
            self._add(node)

    def model(self) -> onnx.ModelProto:
        return self.graph.model(self._outputs)

    def _add(self, node: Node) -> None:
        if node.op == "placeholder" and node.name not in self._targets:
            self.tensors[node] = self.graph.input.name
        elif node.op == "call_function" and node not in self.tensors:
            operator = str(node.target).removeprefix("aten.").split(".")[0].removesuffix("_")
            if operator not in _LAYERS:
                raise GraphUnsupported(f"{node.name}: {node.target} has no form in ONNX here: see export/torch_onnx.py")
            self.tensors[node] = _LAYERS[operator](self, node)

    def source(self, node: Node) -> str:
        """The tensor that a node reads first."""
        return self.tensor(node, node.args[0])

    def tensor(self, node: Node, argument: Any) -> str:
        """A tensor that a node reads."""
        if argument not in self.tensors:
            raise GraphUnsupported(f"{node.name}: {node.target} reads {argument}, which no layer computes")
        return self.tensors[argument]

    def name(self, node: Node) -> str:
        """What the tensor of a node is called: as an output, else by torch's name of the operation."""
        return self._names.get(node) or str(node.name)

    def array(self, argument: Any, missing: float, count: int) -> NDArray[np.float64]:
        """A parameter or buffer; `count` times `missing` where there is none."""
        if argument is None:
            return np.full(count, missing)
        values: NDArray[np.float64] = self._state[self._targets[argument.name]].detach().double().contiguous().numpy()
        return values

    def folded(self, node: Node) -> tuple[str, FloatArray, FloatArray]:
        """Name, weight [out, …] and bias [out] of a layer; a BatchNorm that alone reads it is taken in.

        γ·(w·x + b - μ)/√(σ² + ε) + β, as torch.nn.BatchNorm2d documents it.
        """
        weight = self.array(node.args[1], 0, 0)
        count = len(weight)
        bias = self.array(_argument(node, 2, None), 0, count)
        reader = next(iter(node.users)) if len(node.users) == 1 else None
        if reader is None or "batch_norm" not in str(reader.target):
            return self.name(node), weight.astype(np.float32), bias.astype(np.float32)
        scale, shift, mean, variance = (
            self.array(reader.args[place], missing, count) for place, missing in enumerate((1, 0, 0, 1), start=1)
        )
        factor = scale / np.sqrt(variance + float(reader.args[7]))  # type: ignore[arg-type]
        self.tensors[reader] = self.name(reader)
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = shift + (bias - mean) * factor
        return self.tensors[reader], weight.astype(np.float32), bias.astype(np.float32)


def _argument(node: Node, place: int, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else default


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _one(node: Node, numbers: Any) -> int:
    """A size that is the same in both directions."""
    found = set(numbers) if isinstance(numbers, list | tuple) else {numbers}
    if len(found) != 1 or not isinstance(numbers, int | list | tuple):
        raise GraphUnsupported(f"{node.name}: {node.target} with {numbers}: only one size for both directions is known")
    return int(found.pop())


def _conv(walk: _Walk, node: Node) -> str:
    stride, padding, dilation = (
        _one(node, _argument(node, place, default)) for place, default in ((3, 1), (4, 0), (5, 1))
    )
    if dilation != 1:
        raise GraphUnsupported(f"{node.name}: a convolution with dilation {dilation}")
    name, weight, bias = walk.folded(node)
    group = int(_argument(node, 6, 1))
    return walk.graph.conv(name, walk.source(node), weight, bias, stride=stride, padding=padding, group=group)


def _linear(walk: _Walk, node: Node) -> str:
    name, weight, bias = walk.folded(node)
    return walk.graph.linear(name, walk.source(node), weight, bias)


def _leaky_relu(walk: _Walk, node: Node) -> str:
    return walk.graph.leaky_relu(walk.name(node), walk.source(node), float(_argument(node, 1, 0.01)))


def _max_pool(walk: _Walk, node: Node) -> str:
    size = _one(node, node.args[1])
    stride = _one(node, _argument(node, 2, None) or size)
    if _argument(node, 5, False):
        raise GraphUnsupported(f"{node.name}: a MaxPool that rounds its size up")
    left, right, top, bottom = walk.margins.get(node.args[0], [0] * 4)  # type: ignore[arg-type]
    own = _one(node, _argument(node, 3, 0))
    pads = (top + own, left + own, bottom + own, right + own)
    return walk.graph.max_pool(walk.name(node), walk.source(node), size, stride, pads)


def _adaptive_pool(walk: _Walk, node: Node) -> str:
    if _one(node, node.args[1]) != 1:
        raise GraphUnsupported(f"{node.name}: an adaptive average to {node.args[1]}; only 1 × 1 is known")
    return walk.graph.apply("GlobalAveragePool", walk.name(node), [walk.source(node)])


def _flatten(walk: _Walk, node: Node) -> str:
    if len(_shape(node)) != 2:
        raise GraphUnsupported(f"{node.name}: flattened to {_shape(node)}; only [1, features] is known")
    return walk.graph.apply("Flatten", walk.name(node), [walk.source(node)])


def _pad(walk: _Walk, node: Node) -> str:
    margins: Any = node.args[1]
    if len(margins) != 4 or _argument(node, 3, 0.0) != float("-inf"):
        raise GraphUnsupported(f"{node.name}: a padding other than that of a MaxPool")
    walk.margins[node] = list(margins)
    return walk.source(node)


def _upsample(walk: _Walk, node: Node) -> str:
    before, after = _shape(node.args[0]), _shape(node)
    factors = {large // small for large, small in zip(after[2:], before[2:], strict=True)}
    return walk.graph.upsample(walk.name(node), walk.source(node), _one(node, tuple(factors)))


def _concat(walk: _Walk, node: Node) -> str:
    parts: Any = node.args[0]
    if _argument(node, 1, 0) != 1:
        raise GraphUnsupported(f"{node.name}: a concatenation along another axis than the channels")
    return walk.graph.concat(walk.name(node), [walk.tensor(node, part) for part in parts])


def _add(walk: _Walk, node: Node) -> str:
    return walk.graph.apply("Add", walk.name(node), [walk.tensor(node, part) for part in node.args])


def _relu(walk: _Walk, node: Node) -> str:
    return walk.graph.apply("Relu", walk.name(node), [walk.source(node)])


_LAYERS: dict[str, Callable[[_Walk, Node], str]] = {
    "conv2d": _conv,
    "linear": _linear,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "max_pool2d": _max_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "flatten": _flatten,
    "pad": _pad,
    "upsample_nearest2d": _upsample,
    "cat": _concat,
    "add": _add,
}
