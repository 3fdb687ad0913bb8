"""ResNet-20/32/56 for CIFAR-10 (He et al. 2015, section 4.2; option A shortcuts) as float ONNX.

Reads the state dicts of github.com/akamaster/pytorch_resnet_cifar10 (BSD 2-clause).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.graph_builder import FloatArray, GraphBuilder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_EPSILON = 1e-5  # torch.nn.BatchNorm2d
_STAGES = ((1, 16), (2, 32), (3, 64))


def read_resnet_cifar(weights: Path) -> onnx.ModelProto:
    """Float ONNX of a `.th` checkpoint: "image" [1, 3, 32, 32] normalized by MEAN and STD to "logits" [1, 10].

    Raises:
        SourceMissing: no such file, or no torch to read it with.
        SourceUnreadable: the checkpoint is of another network.
    """
    if not weights.is_file():
        raise SourceMissing(f"no weights at {weights}")
    try:
        import torch  # noqa: PLC0415 - only this function needs torch, and it takes seconds to import
    except ImportError as error:
        raise SourceMissing(
            "reading .th files needs torch: pip install '.[compression]' in a clone of EdgeDet"
        ) from error
    state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
    arrays = {name.removeprefix("module."): value.numpy() for name, value in state.items()}
    return build_resnet_cifar(arrays)


def build_resnet_cifar(state: Mapping[str, FloatArray]) -> onnx.ModelProto:
    """The network of a state dict of numpy arrays; its depth follows from the names."""
    if "conv1.weight" not in state or "linear.weight" not in state:
        raise SourceUnreadable("the checkpoint lacks conv1.weight or linear.weight: not a CIFAR ResNet")
    graph = GraphBuilder("resnet_cifar", (1, 3, 32, 32))
    tensor = _conv_relu(graph, state, "stem", "image", "conv1", "bn1", stride=1)
    channels = 16
    for stage, width in _STAGES:
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            stride = 2 if width != channels else 1
            tensor = _block(graph, state, f"layer{stage}.{block}", tensor, channels, width, stride)
            channels, block = width, block + 1
    graph.apply("GlobalAveragePool", "pooled", [tensor])
    graph.apply("Flatten", "features", ["pooled"])
    graph.linear("logits", "features", state["linear.weight"], state["linear.bias"])
    return graph.model(["logits"])


def _block(
    graph: GraphBuilder,
    state: Mapping[str, FloatArray],
    prefix: str,
    source: str,
    channels: int,
    width: int,
    stride: int,
) -> str:
    name = prefix.replace(".", "_")
    inner = _conv_relu(graph, state, f"{name}_a", source, f"{prefix}.conv1", f"{prefix}.bn1", stride=stride)
    weight, bias = _folded(state, f"{prefix}.conv2", f"{prefix}.bn2")
    graph.conv(f"{name}_b", inner, weight, bias, padding=1)
    shortcut = source
    if stride != 1:
        shortcut = graph.conv(
            f"{name}_shortcut",
            source,
            _option_a(channels, width),
            np.zeros(width, np.float32),
            stride=stride,
        )
    graph.apply("Add", f"{name}_sum", [f"{name}_b", shortcut])
    return graph.apply("Relu", name, [f"{name}_sum"])


def _option_a(channels: int, width: int) -> FloatArray:
    """x[:, :, ::2, ::2] with zero channels on both sides, as a 1 x 1 convolution of stride 2."""
    weight = np.zeros((width, channels, 1, 1), np.float32)
    first = (width - channels) // 2
    weight[first + np.arange(channels), np.arange(channels)] = 1.0
    return weight


def _conv_relu(
    graph: GraphBuilder,
    state: Mapping[str, FloatArray],
    name: str,
    source: str,
    conv: str,
    norm: str,
    *,
    stride: int,
) -> str:
    weight, bias = _folded(state, conv, norm)
    graph.conv(f"{name}_conv", source, weight, bias, stride=stride, padding=1)
    return graph.apply("Relu", name, [f"{name}_conv"])


def _folded(state: Mapping[str, FloatArray], conv: str, norm: str) -> tuple[FloatArray, FloatArray]:
    variance = state[f"{norm}.running_var"].astype(np.float64)
    factor = state[f"{norm}.weight"] / np.sqrt(variance + _EPSILON)
    weight = state[f"{conv}.weight"] * factor[:, None, None, None]
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
    return weight.astype(np.float32), bias.astype(np.float32)
