"""Channel pruning (S1.4): the channels of lowest score go from all layers at once; what is left is rebuilt dense."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks import families
from edgedet_compression.networks.specification import Specified
from edgedet_compression.pruning.channel_groups import ChannelGroup, channel_groups, group_scores, trace
from edgedet_compression.pruning.importance import Importance

Keep = Mapping[str, Tensor]
"""Root of a group → the channels that stay, ascending."""
_LARGE_STEP, _SMALL_STEP = 16, 4


@dataclass(frozen=True)
class ChannelPruning:
    """A network with fewer channels, and how wide its layers were and are."""

    network: nn.Module
    widths: dict[str, tuple[int, int]]
    """Layer → output channels before and after; layers that were not touched are missing."""


def prune_to_parameters(
    network: nn.Module, importance: Importance, image_shape: Sequence[int], parameters: int, floor: float = 0.1
) -> ChannelPruning:
    """As many channels as fit into a budget of parameters (BatchNorm and biases counted).

    Args:
        network: has a specification; it stays as it is.
        importance: scores per channel; the lowest of all layers go first.
        image_shape: (channels, rows, columns) of an input.
        parameters: at most so many are left.
        floor: share of a layer's channels, 0…1, that stay in any case.

    Raises:
        BuildRefused: the floor does not allow so few parameters.
    """
    groups, ranked = _ranked(network, importance, image_shape)
    budget = _ParameterCount(network, groups)

    def fits(cut: int) -> bool:
        return budget(_widths(groups, ranked, cut, floor)) <= parameters

    most = len(ranked.order)
    if not fits(most):
        least = budget(_widths(groups, ranked, most, floor))
        raise BuildRefused(f"parameters={parameters:,} cannot be met: floor={floor} leaves {least:,}; lower the floor")
    return _pruned(network, image_shape, groups, ranked, _widths(groups, ranked, _first(fits, most), floor))


def prune_share(
    network: nn.Module, importance: Importance, image_shape: Sequence[int], share: float, floor: float = 0.1
) -> ChannelPruning:
    """Without this share, 0…1, of all channels that can go, up to the rounding of widths and what the floor keeps."""
    if not 0 <= share < 1:
        raise BuildRefused(f"share={share} must be at least 0 and below 1")
    groups, ranked = _ranked(network, importance, image_shape)
    cut = round(share * len(ranked.order))
    return _pruned(network, image_shape, groups, ranked, _widths(groups, ranked, cut, floor))


def friendly_width(wanted: int, channels: int) -> int:
    """The nearest width that the int8 kernels like, never above `channels`: a multiple of 16, below 16 of 4."""
    step = _LARGE_STEP if wanted >= _LARGE_STEP else _SMALL_STEP
    return min(channels, max(step, (wanted + step // 2) // step * step))


def keep_channels(network: nn.Module, image_shape: Sequence[int], keep: Keep) -> nn.Module:
    """A dense network with these channels alone, in the mode of `network`, which stays as it is.

    Groups that `keep` does not name stay whole.
    """
    thinned = copy.deepcopy(network)
    graph, _ = trace(thinned, image_shape)
    for root, kept in keep.items():
        layer = thinned.get_submodule(root)
        removed = sorted(set(range(len(layer.weight))) - set(kept.tolist()))  # type: ignore[arg-type]
        if removed:
            prune = graph.get_pruner_of_module(layer).prune_out_channels
            graph.get_pruning_group(layer, prune, removed).prune()
    assert isinstance(thinned, Specified)
    rebuilt = families.build(thinned.specification())
    rebuilt.load_state_dict(thinned.state_dict())
    return rebuilt.train(network.training)


@dataclass(frozen=True)
class _Ranked:
    scores: list[Tensor]
    order: np.ndarray
    """The group of every channel of the network, the least important channel first."""


class _ParameterCount:
    """Parameters of the network at given widths of its groups, without building it."""

    def __init__(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        self._groups = groups
        self._shapes: dict[str, tuple[int, int, int, int]] = {}
        counted = 0
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                outputs, inputs = layer.weight.shape[:2]
                self._shapes[name] = (outputs, inputs, layer.weight[0, 0].numel(), int(layer.bias is not None))
                counted += layer.weight.numel() + (0 if layer.bias is None else layer.bias.numel())
        self._rest = sum(parameter.numel() for parameter in network.parameters()) - counted

    def __call__(self, widths: Sequence[int]) -> int:
        outputs = {name: shape[0] for name, shape in self._shapes.items()}
        inputs = {name: shape[1] for name, shape in self._shapes.items()}
        rest = self._rest
        for group, width in zip(self._groups, widths, strict=True):
            gone = group.channels - width
            for name in group.layers:
                outputs[name] -= gone
            for name, each in group.readers.items():
                inputs[name] -= gone * each
            rest -= 2 * gone * sum(group.norms.values())
        layers = self._shapes.items()
        return rest + sum(outputs[name] * (inputs[name] * kernel + bias) for name, (_, _, kernel, bias) in layers)


def _ranked(
    network: nn.Module, importance: Importance, image_shape: Sequence[int]
) -> tuple[list[ChannelGroup], _Ranked]:
    groups = channel_groups(network, image_shape)
    if not groups:
        raise BuildRefused("the network has no layer whose channels can go")
    scores = [group_scores(network, group, importance) for group in groups]
    owners = np.repeat(np.arange(len(groups)), [group.channels for group in groups])
    return groups, _Ranked(scores, owners[np.argsort(torch.cat(scores).numpy(), kind="stable")])


def _widths(groups: Sequence[ChannelGroup], ranked: _Ranked, cut: int, floor: float) -> list[int]:
    """Channels of every group when the `cut` least important ones go; falls when `cut` rises."""
    gone = np.bincount(ranked.order[:cut], minlength=len(groups))
    widths = []
    for group, less in zip(groups, gone.tolist(), strict=True):
        if less == 0:
            widths.append(group.channels)
            continue
        least = max(1, math.ceil(floor * group.channels))
        width = friendly_width(max(least, group.channels - less), group.channels)
        if width < least:
            width = min(group.channels, width + (_LARGE_STEP if width >= _LARGE_STEP else _SMALL_STEP))
        widths.append(width)
    return widths


def _first(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number of 0…most for which `holds`, which stays true once it is."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _pruned(
    network: nn.Module,
    image_shape: Sequence[int],
    groups: Sequence[ChannelGroup],
    ranked: _Ranked,
    widths: Sequence[int],
) -> ChannelPruning:
    keep = {
        group.root: scores.argsort(descending=True, stable=True)[:width].sort().values
        for group, scores, width in zip(groups, ranked.scores, widths, strict=True)
    }
    changed = {
        name: (group.channels, width)
        for group, width in zip(groups, widths, strict=True)
        if width < group.channels
        for name in group.layers
    }
    return ChannelPruning(keep_channels(network, image_shape, keep), changed)
