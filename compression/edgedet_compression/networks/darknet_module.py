"""Darknet networks as torch modules: built from a description, weights read and written in Darknet's format."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.darknet_cfg import Description, Section
from edgedet_compression.networks.darknet_weights import WeightReader, WeightWriter
from edgedet_compression.networks.specification import Specification

_LEAKY_SLOPE = 0.1
# Darknet adds 1e-6 to the standard deviation; added to the variance it comes closest.
_EPSILON = 1e-6
_EXPECTED_OBJECTS = 8


@dataclass(frozen=True)
class YoloHead:
    """What a raw head map [n, anchors·(5 + classes), rows, columns] means; anchors (width, height) in input pixels."""

    layer: int
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int


class ConvUnit(nn.Sequential):
    """Convolution, BatchNorm where there is one, activation where there is one."""

    def __init__(self, channels: int, section: Section) -> None:
        filters, size = section.integer("filters"), section.integer("size")
        normalized = bool(section.integer("batch_normalize", 0))
        padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
        conv = nn.Conv2d(
            channels, filters, size, section.integer("stride", 1), padding, groups=section.integer("groups", 1),
            bias=not normalized,
        )  # fmt: skip
        super().__init__(conv)
        if normalized:
            self.append(nn.BatchNorm2d(filters, eps=_EPSILON))
        activation = section.word("activation", "linear")
        if activation == "leaky":
            self.append(nn.LeakyReLU(_LEAKY_SLOPE, inplace=True))
        elif activation == "relu":
            self.append(nn.ReLU(inplace=True))
        elif activation != "linear":
            raise SourceUnreadable(f"layer {section.index}: activation {activation!r} is not known")

    @property
    def conv(self) -> nn.Conv2d:
        """The convolution."""
        conv = self[0]
        assert isinstance(conv, nn.Conv2d)
        return conv

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """BatchNorm, where there is one."""
        return next((module for module in self if isinstance(module, nn.BatchNorm2d)), None)


class DarknetModule(nn.Module):
    """Images [n, C, H, W] of values 0…1 to raw head maps, in the order of the [yolo] sections.

    `layers` maps the index of every [convolutional] section to its `ConvUnit`; `widths` and `strides` tell channels
    and stride of every section's output.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.description = description
        self.input_size = (description.net.integer("height"), description.net.integer("width"))
        units: dict[str, nn.Module] = {}
        channels = self.widths = list[int]()
        strides = self.strides = list[int]()
        self.heads: list[YoloHead] = []
        for section in description.layers:
            previous, stride = (channels[-1], strides[-1]) if channels else (description.net.integer("channels", 3), 1)
            width, stride = _shape(section, previous, stride, channels, strides)
            if section.kind == "convolutional":
                units[str(section.index)] = ConvUnit(previous, section)
            if section.kind == "yolo":
                self.heads.append(_head(section, previous, stride))
            channels.append(width)
            strides.append(stride)
        self.layers = nn.ModuleDict(units)
        self._last_use = _last_uses(description)
        self._initialize()

    def unit(self, layer: int) -> ConvUnit:
        """The unit of a [convolutional] section."""
        unit = self.layers[str(layer)]
        assert isinstance(unit, ConvUnit)
        return unit

    def specification(self) -> Specification:
        """Family "darknet": the description, with the filters that are left."""
        sections = [
            replace(section, options={**section.options, "filters": str(self.unit(section.index).conv.out_channels)})
            if section.kind == "convolutional"
            else section
            for section in self.description.layers
        ]
        return Specification("darknet", {"cfg": replace(self.description, layers=tuple(sections)).text()})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw maps."""
        kept: dict[int, Tensor] = {}
        maps = []
        current = images
        for section in self.description.layers:
            if section.kind == "yolo":
                maps.append(current)
            elif section.kind == "convolutional":
                current = self.layers[str(section.index)](current)
            else:
                current = _PLAIN[section.kind](section, current, kept)
            kept[section.index] = current
            for layer in self._last_use.get(section.index, ()):
                kept.pop(layer, None)
        return maps

    def _initialize(self) -> None:
        """He's initialization; heads expect few objects at first (as YOLOv5 does), so that training starts calmly."""
        for name, unit in self.layers.items():
            assert isinstance(unit, ConvUnit)
            nn.init.kaiming_normal_(unit.conv.weight, a=_LEAKY_SLOPE, mode="fan_out")
            head = next((head for head in self.heads if head.layer == int(name)), None)
            if head is not None and unit.conv.bias is not None:
                nn.init.normal_(unit.conv.weight, std=0.01)
                with torch.no_grad():
                    bias = unit.conv.bias.view(len(head.anchors), -1)
                    bias.zero_()
                    bias[:, 4] = math.log(_EXPECTED_OBJECTS / (self.input_size[0] / head.stride) ** 2)
                    bias[:, 5:] = math.log(0.6 / (head.classes - 0.99))


def load_darknet_weights(network: DarknetModule, content: bytes) -> None:
    """Put the numbers of a .weights file into the network.

    Raises:
        SourceUnreadable: the file is of another network.
    """
    reader = WeightReader(content)
    for tensor in _in_file_order(network):
        tensor.data.copy_(torch.from_numpy(reader.take(*tensor.shape)))
    reader.check_all_read()


def darknet_numbers(network: DarknetModule) -> int:
    """How many numbers the network's .weights file holds."""
    return sum(tensor.numel() for tensor in _in_file_order(network))


def darknet_weights(network: DarknetModule) -> bytes:
    """The network's .weights file."""
    writer = WeightWriter()
    for tensor in _in_file_order(network):
        writer.put(tensor.detach().float().contiguous().numpy().astype(np.float32))
    return writer.content()


def save_darknet(network: DarknetModule, stem: Path) -> None:
    """Write `stem`.cfg and `stem`.weights."""
    stem.with_suffix(".cfg").write_text(network.specification().arguments["cfg"], encoding="utf-8")
    stem.with_suffix(".weights").write_bytes(darknet_weights(network))


def _in_file_order(network: DarknetModule) -> list[Tensor]:
    tensors: list[Tensor] = []
    for section in network.description.layers:
        if section.kind != "convolutional":
            continue
        unit = network.unit(section.index)
        norm = unit.norm
        if norm is None:
            assert unit.conv.bias is not None
            tensors += [unit.conv.bias, unit.conv.weight]
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            tensors += [norm.bias, norm.weight, norm.running_mean, norm.running_var, unit.conv.weight]
    return tensors


def _shape(section: Section, channels: int, stride: int, widths: list[int], strides: list[int]) -> tuple[int, int]:
    """Channels and stride of a layer's output."""
    kinds: dict[str, Callable[[], tuple[int, int]]] = {
        "convolutional": lambda: (section.integer("filters"), stride * section.integer("stride", 1)),
        "maxpool": lambda: (channels, stride * section.integer("stride", 1)),
        "upsample": lambda: (channels, stride // section.integer("stride", 2)),
        "route": lambda: (sum(widths[i] for i in section.sources()), strides[section.sources()[0]]),
        "shortcut": lambda: (channels, stride),
        "yolo": lambda: (channels, stride),
    }
    if section.kind not in kinds:
        raise SourceUnreadable(
            f"layer {section.index} [{section.kind}] is not known; known are {', '.join(sorted(kinds))}"
        )
    return kinds[section.kind]()


def _head(section: Section, channels: int, stride: int) -> YoloHead:
    numbers, classes = section.numbers("anchors"), section.integer("classes")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    anchors = tuple(pairs[index] for index in section.integers("mask"))
    if channels != len(anchors) * (5 + classes):
        raise SourceUnreadable(
            f"layer {section.index} [yolo] reads {channels} channels, but {len(anchors)} anchors and "
            f"{classes} classes need {len(anchors) * (5 + classes)}"
        )
    return YoloHead(section.index - 1, stride, anchors, classes)


def _last_uses(description: Description) -> dict[int, list[int]]:
    """Layer → outputs that nobody reads any more once it is done: memory follows the live tensors."""
    last = {section.index: section.index for section in description.layers}
    for section in description.layers:
        for source in section.sources():
            last[source] = section.index
    uses: dict[int, list[int]] = {}
    for layer, user in last.items():
        uses.setdefault(user, []).append(layer)
    return uses


def _maxpool(section: Section, current: Tensor, _: dict[int, Tensor]) -> Tensor:
    stride = section.integer("stride", 1)
    size = section.integer("size", stride)
    padding = section.integer("padding", size - 1)
    begin, rows, columns = padding // 2, current.shape[-2], current.shape[-1]
    ends = [max(0, ((n + padding - size) // stride) * stride + size - n - begin) for n in (columns, rows)]
    if begin or any(ends):
        current = functional.pad(current, (begin, ends[0], begin, ends[1]), value=float("-inf"))
    return functional.max_pool2d(current, size, stride)


def _upsample(section: Section, current: Tensor, _: dict[int, Tensor]) -> Tensor:
    return functional.interpolate(current, scale_factor=section.integer("stride", 2), mode="nearest")


def _route(section: Section, _: Tensor, kept: dict[int, Tensor]) -> Tensor:
    sources = [kept[layer] for layer in section.sources()]
    return sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)


def _shortcut(section: Section, current: Tensor, kept: dict[int, Tensor]) -> Tensor:
    (other,) = section.sources()
    return current + kept[other]


_PLAIN: dict[str, Callable[[Section, Tensor, dict[int, Tensor]], Tensor]] = {
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
}
