"""Masks of single weights: which there are, putting them in force, and how sparse a network is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgedet_compression.networks.darknet_module import DarknetModule

Weights = Mapping[str, Tensor]
"""Weights by the name of their parameter, in the order of the network's layers."""
Masks = Mapping[str, Tensor]
"""Of the same names and shapes: True where a weight stays, False where it is held at zero."""
Spared = Literal["none", "first", "last", "first and last"]
"""Layers that are left alone: the first reads the image, the last computes the output; both have few weights.

Of a YOLO network all that compute head maps are the last.
"""


@dataclass(frozen=True)
class Sparsity:
    """Shares of weights that are zero, 0…1."""

    layers: dict[str, float]
    total: float


def prunable_weights(network: nn.Module, spared: Spared = "none") -> dict[str, Tensor]:
    """The weights of convolutions and fully connected layers, without gradient; they share the network's memory."""
    found = [
        (f"{name}.weight" if name else "weight", module.weight.detach())
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    names = [name for name, _ in found]
    left_alone: list[str] = []
    if spared.startswith("first"):
        left_alone += names[:1]
    if spared.endswith("last"):
        left_alone += _last(network, names)
    return {name: weight for name, weight in found if name not in left_alone}


def _last(network: nn.Module, names: list[str]) -> list[str]:
    """The weights that compute the output."""
    if isinstance(network, DarknetModule):
        return [f"layers.{head.layer}.0.weight" for head in network.heads]
    return names[-1:]


def apply_masks(network: nn.Module, masks: Masks) -> None:
    """Set the weights that do not stay to zero."""
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).masked_fill_(~mask, 0.0)


def masks_of_zeros(network: nn.Module) -> Masks:
    """Those that hold all weights that are zero now."""
    return {name: weight != 0 for name, weight in prunable_weights(network).items()}


def holding(masks: Masks) -> Callable[[nn.Module], None]:
    """Puts the masks in force again: for `training.loop.Methods.hold`, on the network and on its averaged copy."""

    def hold(network: nn.Module) -> None:
        apply_masks(network, masks)

    return hold


def sparsity(weights: Weights) -> Sparsity:
    """How sparse weights are, layer by layer and in total."""
    zeros = {name: int((weight == 0).sum()) for name, weight in weights.items()}
    count = sum(weight.numel() for weight in weights.values())
    layers = {name: zeros[name] / weight.numel() for name, weight in weights.items()}
    return Sparsity(layers, sum(zeros.values()) / count if count else 0.0)
