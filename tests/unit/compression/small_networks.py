"""Small float networks, made at random from a seed."""

import numpy as np
import onnx
from edgedet_compression.networks.graph_builder import GraphBuilder

SIDE = 32


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """He-initialized float32 weights."""
    return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def bias(rng: np.random.Generator, channels: int) -> np.ndarray:
    return rng.normal(scale=0.1, size=channels).astype(np.float32)


def classifier(seed: int, classes: int = 5, channels: int = 8) -> onnx.ModelProto:
    """Convolutions, a residual addition, pooling, a fully connected layer."""
    rng = np.random.default_rng(seed)
    graph = GraphBuilder("classifier", (1, 3, SIDE, SIDE), "pixels")
    graph.conv("stem_conv", "pixels", weights(rng, channels, 3, 3, 3), bias(rng, channels), padding=1, stride=2)
    graph.apply("Relu", "stem", ["stem_conv"])
    graph.conv("inner", "stem", weights(rng, channels, channels, 3, 3), bias(rng, channels), padding=1)
    graph.apply("Add", "sum", ["inner", "stem"])
    graph.apply("Relu", "block", ["sum"])
    graph.conv("wide_conv", "block", weights(rng, 16, channels, 1, 1), bias(rng, 16))
    graph.leaky_relu("wide", "wide_conv", 0.1)
    graph.max_pool("pooled", "wide", 2, 2, (0, 0, 0, 0))
    graph.apply("GlobalAveragePool", "mean", ["pooled"])
    graph.apply("Flatten", "features", ["mean"])
    graph.linear("logits", "features", weights(rng, classes, 16), bias(rng, classes))
    return graph.model(["logits"])


def detector(seed: int, anchors: int = 2, classes: int = 3) -> onnx.ModelProto:
    """Two head maps, the finer one fed by an upsampled branch, as in YOLOv3-tiny."""
    rng = np.random.default_rng(seed)
    heads = anchors * (5 + classes)
    graph = GraphBuilder("detector", (1, 3, SIDE, SIDE))
    graph.conv("stem_conv", "image", weights(rng, 8, 3, 3, 3), bias(rng, 8), padding=1)
    graph.leaky_relu("stem_leaky", "stem_conv", 0.1)
    graph.max_pool("stem", "stem_leaky", 2, 2, (0, 0, 0, 0))
    graph.conv("branch_conv", "stem", weights(rng, 16, 8, 3, 3), bias(rng, 16), padding=1, stride=2)
    graph.leaky_relu("branch", "branch_conv", 0.1)
    graph.max_pool("deep_pool", "branch", 2, 2, (0, 0, 0, 0))
    graph.conv("deep_conv", "deep_pool", weights(rng, 16, 16, 3, 3), bias(rng, 16), padding=1)
    graph.leaky_relu("deep", "deep_conv", 0.1)
    graph.conv("coarse", "deep", weights(rng, heads, 16, 1, 1), bias(rng, heads))
    graph.upsample("up", "deep", 2)
    graph.concat("joined", ["up", "branch"])
    graph.conv("fine", "joined", weights(rng, heads, 32, 1, 1), bias(rng, heads))
    return graph.model(["coarse", "fine"])


def photos(seed: int, count: int = 4, channels: int = 4) -> list[np.ndarray]:
    """Network inputs uint8 [1, SIDE, SIDE, channels] with smooth content; the fourth channel is 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 1, 8, 8, channels), np.uint8)
    found = coarse.repeat(SIDE // 8, axis=2).repeat(SIDE // 8, axis=3)
    if channels == 4:
        found[..., 3] = 255
    return list(found)


def channels_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, which reads its image with the channels last."""
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    (image,) = turned.graph.input
    sides = image.type.tensor_type.shape.dim
    batch, channels, height, width = (side.dim_value for side in sides)
    for side, size in zip(sides, (batch, height, width, channels), strict=True):
        side.dim_value = size
    next(node for node in turned.graph.node if image.name in node.input).input[0] = "channels_first"
    turn = onnx.helper.make_node("Transpose", [image.name], ["channels_first"], perm=[0, 3, 1, 2])
    turned.graph.node.insert(0, turn)
    return turned
