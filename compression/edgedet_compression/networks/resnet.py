"""ResNet-20/32/56 for CIFAR-10 (He et al. 2015, section 4.2) as torch modules.

Shortcuts are those of option A: where the width doubles, every second pixel with zero channels on both sides. Names of
parameters are those of github.com/akamaster/pytorch_resnet_cifar10 (BSD 2-clause), whose checkpoints load.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.specification import Specification
from edgedet_compression.tensor_file import read_tensors

WIDTHS = (16, 32, 64)
"""Channels between the blocks of the three stages."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; `inner` channels lie between them."""

    selection: Tensor

    def __init__(self, channels: int, inner: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if channels == width else 2
        self.conv1 = nn.Conv2d(channels, inner, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if self.stride == 2:
            # A convolution by zeros and ones: exact, and a form that every exporter and integer kernel knows.
            self.register_buffer("selection", _option_a(channels, width), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [n, channels, H, W] to [n, width, H/stride, W/stride]."""
        inner = functional.relu(self.bn1(self.conv1(maps)))
        shortcut = maps if self.stride == 1 else functional.conv2d(maps, self.selection, stride=2)
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class CifarResNet(nn.Module):
    """Images [n, 3, 32, 32] to logits [n, classes]; `inner` gives each block's inner width, stage by stage."""

    def __init__(self, inner: Sequence[Sequence[int]], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(*(Block(before if place == 0 else width, each, width) for place, each in enumerate(stage)))
            for before, width, stage in zip((WIDTHS[0], *WIDTHS), WIDTHS, inner, strict=False)
        )
        self.linear = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def specification(self) -> Specification:
        """Family "cifar-resnet": inner widths as they are now."""
        stages = (self.layer1, self.layer2, self.layer3)
        inner = [[block.get_submodule("conv1").out_channels for block in stage] for stage in stages]
        return Specification("cifar-resnet", {"inner": inner, "classes": self.linear.out_features})

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(maps, 1), 1))
        return logits


def resnet20(classes: int = 10) -> CifarResNet:
    """269,722 parameters with 10 classes."""
    return _of_blocks(3, classes)


def resnet32(classes: int = 10) -> CifarResNet:
    """464,154 parameters with 10 classes."""
    return _of_blocks(5, classes)


def resnet56(classes: int = 10) -> CifarResNet:
    """853,018 parameters with 10 classes."""
    return _of_blocks(9, classes)


def load_akamaster(file: Path) -> CifarResNet:
    """The network of an akamaster checkpoint (`.th`) in evaluation mode; its depth follows from the names.

    It reads images normalized by `resnet_cifar.MEAN` and `STD`.

    Raises:
        SourceMissing: no such file.
        SourceUnreadable: the checkpoint is of another network.
    """
    if not file.is_file():
        raise SourceMissing(f"no weights at {file}")
    content = read_tensors(file)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    named = {name.removeprefix("module."): value for name, value in state.items()} if state else {}
    blocks = sum(name.startswith("layer1.") and name.endswith(".conv1.weight") for name in named)
    if not blocks or "linear.bias" not in named:
        raise SourceUnreadable(f"{file} is no checkpoint of a CIFAR ResNet: it lacks layer1 or linear")
    network = _of_blocks(blocks, len(named["linear.bias"]))
    try:
        network.load_state_dict(named)
    except RuntimeError as error:
        raise SourceUnreadable(f"{file} is no checkpoint of a CIFAR ResNet: {error}") from error
    return network.eval()


def _of_blocks(blocks: int, classes: int) -> CifarResNet:
    return CifarResNet([[width] * blocks for width in WIDTHS], classes)


def _option_a(channels: int, width: int) -> Tensor:
    """Weight [width, channels, 1, 1] that puts the channels into the middle of zeros."""
    weight = torch.zeros(width, channels, 1, 1)
    first, places = (width - channels) // 2, torch.arange(channels)
    weight[first + places, places] = 1.0
    return weight
