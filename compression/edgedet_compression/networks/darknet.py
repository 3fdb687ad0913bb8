"""Darknet networks (.cfg and .weights) as float ONNX, BatchNorm folded: YOLOv3-tiny, YOLOv3 and their kin."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.darknet_cfg import Description, Section, parse_cfg
from edgedet_compression.networks.darknet_weights import WeightReader
from edgedet_compression.networks.graph_builder import FloatArray, GraphBuilder

_EPSILON = 1e-6  # Darknet adds it to the standard deviation, not to the variance
_LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class Head:
    """A raw head map [1, anchors·(5 + classes), rows, columns]; anchors are (width, height) in input pixels."""

    tensor: str
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int


@dataclass(frozen=True)
class DarknetNetwork:
    """Float ONNX (input "image" [1, C, H, W], values 0…1) and what its outputs mean."""

    model: onnx.ModelProto
    heads: tuple[Head, ...]


def read_darknet(cfg: Path, weights: Path, masks: Mapping[int, tuple[int, ...]] | None = None) -> DarknetNetwork:
    """Read a network; `masks` replaces the anchor mask of the head with that stride.

    Raises:
        SourceMissing: a file is not there.
        SourceUnreadable: a layer is unknown, or the weights do not fit the description.
    """
    description = parse_cfg(cfg)
    if not weights.is_file():
        raise SourceMissing(f"no weights at {weights}")
    return build_darknet(description, weights.read_bytes(), masks)


def build_darknet(
    description: Description, weights: bytes, masks: Mapping[int, tuple[int, ...]] | None = None
) -> DarknetNetwork:
    """The network of a parsed description and the bytes of a .weights file."""
    builder = _Builder(description, WeightReader(weights), masks or {})
    for section in description.layers:
        builder.add(section)
    builder.weights.check_all_read()
    model = builder.graph.model([head.tensor for head in builder.heads])
    return DarknetNetwork(model=model, heads=tuple(builder.heads))


class _Builder:
    """Turns sections into layers; remembers name, channels and stride of every layer for routes."""

    def __init__(self, description: Description, weights: WeightReader, masks: Mapping[int, tuple[int, ...]]) -> None:
        net = description.net
        self.size = (net.integer("height"), net.integer("width"))
        channels = net.integer("channels", 3)
        self.graph = GraphBuilder("darknet", (1, channels, *self.size))
        self.weights = weights
        self.masks = masks
        self.heads: list[Head] = []
        self.names: list[str] = []
        self.channels: list[int] = []
        self.rows: list[int] = []
        self._last_layer = {
            index for index, layer in enumerate(description.layers[1:]) if layer.kind == "yolo"
        }  # convolutions that a [yolo] section reads are the network's outputs
        self._image = ("image", channels, self.size[0])

    def add(self, section: Section) -> None:
        layers = {
            "convolutional": self._convolutional,
            "maxpool": self._maxpool,
            "route": self._route,
            "upsample": self._upsample,
            "shortcut": self._shortcut,
            "yolo": self._yolo,
        }
        if section.kind not in layers:
            raise SourceUnreadable(
                f"layer {section.index} [{section.kind}] is not known; known are {', '.join(sorted(layers))}"
            )
        name, channels, rows = layers[section.kind](section)
        self.names.append(name)
        self.channels.append(channels)
        self.rows.append(rows)

    def _previous(self) -> tuple[str, int, int]:
        return (self.names[-1], self.channels[-1], self.rows[-1]) if self.names else self._image

    def _convolutional(self, section: Section) -> tuple[str, int, int]:
        source, channels, rows = self._previous()
        filters, size = section.integer("filters"), section.integer("size")
        stride, group = section.integer("stride", 1), section.integer("groups", 1)
        padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
        weight, bias = self._folded(section, filters, channels // group, size)
        out_rows = (rows + 2 * padding - size) // stride + 1
        is_head = section.index in self._last_layer
        name = f"head_{self.size[0] // out_rows}" if is_head else f"conv{section.index}"
        self.graph.conv(name, source, weight, bias, stride=stride, padding=padding, group=group)
        return self._activated(section, name), filters, out_rows

    def _folded(self, section: Section, filters: int, channels: int, size: int) -> tuple[FloatArray, FloatArray]:
        bias = self.weights.take(filters)
        factor = np.ones(filters)
        if section.integer("batch_normalize", 0):
            scale, mean, variance = (self.weights.take(filters) for _ in range(3))
            factor = scale / (np.sqrt(variance) + _EPSILON)
            bias = bias - mean * factor
        weight = self.weights.take(filters, channels, size, size) * factor[:, None, None, None]
        return weight.astype(np.float32), bias.astype(np.float32)

    def _activated(self, section: Section, name: str) -> str:
        activation = section.word("activation", "linear")
        if activation == "leaky":
            return self.graph.leaky_relu(f"leaky{section.index}", name, _LEAKY_SLOPE)
        if activation == "relu":
            return self.graph.apply("Relu", f"relu{section.index}", [name])
        if activation == "linear":
            return name
        raise SourceUnreadable(f"layer {section.index}: activation {activation!r} is not known")

    def _maxpool(self, section: Section) -> tuple[str, int, int]:
        source, channels, rows = self._previous()
        stride = section.integer("stride", 1)
        size = section.integer("size", stride)
        padding = section.integer("padding", size - 1)
        out_rows = (rows + padding - size) // stride + 1
        begin = padding // 2
        end = max(0, (out_rows - 1) * stride + size - rows - begin)
        name = self.graph.max_pool(f"pool{section.index}", source, size, stride, (begin, begin, end, end))
        return name, channels, out_rows

    def _route(self, section: Section) -> tuple[str, int, int]:
        if section.integer("groups", 1) != 1:
            raise SourceUnreadable(f"layer {section.index} [route]: groups are not known")
        sources = [layer if layer >= 0 else section.index + layer for layer in section.integers("layers")]
        channels = sum(self.channels[source] for source in sources)
        names = [self.names[source] for source in sources]
        name = names[0] if len(names) == 1 else self.graph.concat(f"route{section.index}", names)
        return name, channels, self.rows[sources[0]]

    def _upsample(self, section: Section) -> tuple[str, int, int]:
        source, channels, rows = self._previous()
        factor = section.integer("stride", 2)
        return self.graph.upsample(f"upsample{section.index}", source, factor), channels, rows * factor

    def _shortcut(self, section: Section) -> tuple[str, int, int]:
        source, channels, rows = self._previous()
        other = section.integer("from")
        other = other if other >= 0 else section.index + other
        name = self.graph.apply("Add", f"shortcut{section.index}", [source, self.names[other]])
        return self._activated(section, name), channels, rows

    def _yolo(self, section: Section) -> tuple[str, int, int]:
        name, channels, rows = self._previous()
        stride = self.size[0] // rows
        numbers = section.numbers("anchors")
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        mask = self.masks.get(stride, section.integers("mask"))
        anchors = tuple(pairs[index] for index in mask)
        classes = section.integer("classes")
        if channels != len(anchors) * (5 + classes):
            raise SourceUnreadable(
                f"layer {section.index} [yolo] reads {channels} channels, but {len(anchors)} anchors and "
                f"{classes} classes need {len(anchors) * (5 + classes)}"
            )
        self.heads.append(Head(name, stride, anchors, classes))
        return name, channels, rows
