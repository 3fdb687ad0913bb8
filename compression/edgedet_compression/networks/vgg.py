"""VGG16 and VGG19 (Simonyan & Zisserman 2014) in the shape that CIFAR-10 asks for, as torch modules.

Convolutions have no bias, BatchNorm (Ioffe & Szegedy 2015) follows every convolution and the hidden layer; one hidden
layer of 512 replaces the two of 4,096 that images of 224 pixels need.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.specification import Specification

Layers = Sequence[int | str]
"""The width of a 3 x 3 convolution; "M": the maximum over 2 x 2 pixels; "A": the average of all that are left."""

_POOLS: dict[str, Callable[[], nn.Module]] = {
    "M": lambda: nn.MaxPool2d(2),
    "A": lambda: nn.AdaptiveAvgPool2d(1),
}
_HIDDEN = 512
_LAYERS: dict[str, Layers] = {
    "vgg16": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    "vgg19": [
        64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"
    ],
}  # fmt: skip


class VGG(nn.Module):
    """Images [n, 3, H, W] to logits [n, classes]; `layers` must leave one pixel."""

    def __init__(self, layers: Layers, hidden: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels = 3
        for layer in layers:
            if isinstance(layer, str):
                self.features.append(_POOLS[layer]())
            else:
                self.features.append(nn.Conv2d(channels, layer, 3, padding=1, bias=False))
                self.features.append(nn.BatchNorm2d(layer))
                self.features.append(nn.ReLU(inplace=True))
                channels = layer
        self.classifier = nn.Sequential(
            nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, classes)
        )
        self._initialize()

    def specification(self) -> Specification:
        """Family "vgg": widths as the layers are now."""
        layers: list[int | str] = []
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                layers.append(module.out_channels)
            elif isinstance(module, nn.MaxPool2d):
                layers.append("M")
            elif isinstance(module, nn.AdaptiveAvgPool2d):
                layers.append("A")
        hidden, last = self.classifier[0], self.classifier[-1]
        assert isinstance(hidden, nn.Linear)
        assert isinstance(last, nn.Linear)
        return Specification("vgg", {"layers": layers, "hidden": hidden.out_features, "classes": last.out_features})

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits

    def _initialize(self) -> None:
        """A convolution's first outputs are its inputs; the last layer starts almost undecided.

        Of [outputs, inputs, 3, 3] the first `inputs` filters are the identity: all of them, where there are no more
        outputs than inputs; the others are as torch draws them. (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a
        Single GPU", after Zagoruyko & Komodakis 2017, "DiracNets".) The recipe vgg16-cifar10 tells what that gains.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.dirac_(module.weight[: module.in_channels])
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        last = self.classifier[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)


def vgg16(classes: int = 10, size: int = 32) -> VGG:
    """13 convolutions for images of `size` pixels, at least 32; 14,987,722 parameters with 10 classes."""
    return _named("vgg16", classes, size)


def vgg19(classes: int = 10, size: int = 32) -> VGG:
    """16 convolutions for images of `size` pixels, at least 32; 20,298,698 parameters with 10 classes."""
    return _named("vgg19", classes, size)


def _named(name: str, classes: int, size: int) -> VGG:
    if size < 32:
        raise BuildRefused(f"size = {size}: the five poolings of {name} need images of at least 32 pixels")
    # Five poolings leave one pixel of less than 64; of larger images the average.
    return VGG([*_LAYERS[name], "A"] if size >= 64 else _LAYERS[name], _HIDDEN, classes)
