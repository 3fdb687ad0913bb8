"""Which channels must go together: residual sums couple the layers that they add up (groups from torch-pruning)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from edgedet_compression.pruning.importance import Importance, PrunableLayer


@dataclass(frozen=True)
class ChannelGroup:
    """Layers whose output channel c goes in all of them or in none; modules by name."""

    channels: int
    layers: Mapping[str, str | None]
    """Convolutions and fully connected layers that compute the channels, each with the BatchNorm behind it."""
    norms: Mapping[str, int]
    """All BatchNorm layers that the channels pass, with the number of their channels that each stands for."""
    readers: Mapping[str, int]
    """Layers that read the channels, with the number of their inputs that each stands for."""

    @property
    def root(self) -> str:
        """The layer that the group is named after."""
        return next(iter(self.layers))


def trace(network: nn.Module, image_shape: Sequence[int]) -> tuple[Any, set[nn.Module]]:
    """torch-pruning's dependency graph, and the layers that compute outputs; puts the network in evaluation mode."""
    outputs: list[Tensor] = []

    def forward(traced: nn.Module, images: Tensor) -> Any:
        result = traced(images)
        outputs.extend(result if isinstance(result, list | tuple) else [result])
        return result

    with torch.enable_grad():
        graph = torch_pruning.DependencyGraph()
        # The image requires a gradient, so that networks with frozen weights can be traced, too.
        graph.build_dependency(network, torch.zeros(1, *image_shape, requires_grad=True), forward_fn=forward)
    ends = [output.grad_fn for output in outputs]
    return graph, {node.module for node in graph.module2node.values() if node.grad_fn in ends}


def channel_groups(network: nn.Module, image_shape: Sequence[int]) -> list[ChannelGroup]:
    """All groups whose channels can go, in the order of the network's modules.

    Protected are outputs (head maps of detectors, logits of classifiers) and what grouped convolutions touch.
    `image_shape`: (channels, rows, columns), large enough for the network.
    """
    was_training = network.training
    graph, outputs = trace(network, image_shape)
    network.train(was_training)
    names = {module: name for name, module in network.named_modules()}
    groups = [
        _plain_data(graph, items, names)
        for items in graph.get_all_groups(root_module_types=(nn.Conv2d, nn.Linear))
        if not _protected(graph, items, outputs)
    ]
    order = {name: place for place, name in enumerate(names.values())}
    return sorted((group for group in groups if group is not None), key=lambda group: order[group.root])


def group_scores(network: nn.Module, group: ChannelGroup, importance: Importance) -> Tensor:
    """One score per channel of the group [channels]: the mean over its layers."""
    return torch.stack([importance(layer) for layer in prunable_layers(network, group)]).mean(dim=0)


def prunable_layers(network: nn.Module, group: ChannelGroup) -> list[PrunableLayer]:
    """The layers of a group as criteria take them."""
    layers = []
    for name, norm_name in group.layers.items():
        weight, norm = network.get_submodule(name).weight, network.get_submodule(norm_name) if norm_name else None
        assert isinstance(weight, Tensor)
        assert norm is None or isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
        layers.append(PrunableLayer(name, weight, norm))
    return layers


def _protected(graph: Any, items: Any, outputs: set[nn.Module]) -> bool:
    touched = [item.dep.target.module for item in items]
    computing = [item.dep.target.module for item in items if graph.is_out_channel_pruning_fn(item.dep.handler)]
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in touched)
    return grouped or any(module in outputs for module in computing)


def _plain_data(graph: Any, items: Any, names: Mapping[nn.Module, str]) -> ChannelGroup | None:
    """None where coupled layers number their channels differently (a sum over a concatenation): left alone."""
    channels = len(items[0].idxs)
    layers: dict[str, str | None] = {}
    norms: dict[str, int] = {}
    readers: dict[str, int] = {}
    for item in items:
        module = item.dep.target.module
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            norms[names[module]] = len(item.idxs) // channels
        elif isinstance(module, nn.Conv2d | nn.Linear) and graph.is_out_channel_pruning_fn(item.dep.handler):
            if list(item.idxs) != list(range(module.weight.shape[0])) or list(item.root_idxs) != list(item.idxs):
                return None
            behind = [node.module for node in graph.module2node[module].outputs]
            norm = next((other for other in behind if isinstance(other, nn.BatchNorm2d | nn.BatchNorm1d)), None)
            layers[names[module]] = None if norm is None else names[norm]
        elif isinstance(module, nn.Conv2d | nn.Linear):
            readers[names[module]] = len(item.idxs) // channels
    return ChannelGroup(channels, layers, norms, readers)
