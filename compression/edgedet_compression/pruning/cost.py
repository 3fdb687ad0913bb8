"""What a network costs: parameters, and multiplications with addition (MACs) at an input size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Of one image."""

    parameters: int
    macs: int
    macs_by_layer: dict[str, int]
    """Convolutions and fully connected layers, by name; others count nothing."""


def count_cost(network: nn.Module, image_shape: Sequence[int]) -> Cost:
    """Run one image of zeros of shape (channels, rows, columns) through the network and count."""
    macs: dict[str, int] = {}

    def counting(name: str, layer: nn.Conv2d | nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def count(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            # Every output number takes as many MACs as one row of the weights is long.
            macs[name] = macs.get(name, 0) + output.numel() * layer.weight[0].numel()

        return layer.register_forward_hook(count)

    hooks = [
        counting(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *image_shape))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, sum(macs.values()), macs)
