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
from edgedet_compression.pruning.budget import Budget, WidthCost
from edgedet_compression.pruning.channel_groups import ChannelGroup, channel_groups, group_scores, trace
from edgedet_compression.pruning.importance import Importance

Keep = Mapping[str, Tensor]
"""Root of a group → the channels that stay, ascending."""
_LARGE_STEP, _SMALL_STEP = 16, 4
_CHARGES = [0.0, *np.geomspace(1e-3, 1, 39).tolist()]
"""λ, in steps of a fifth."""


@dataclass(frozen=True)
class ChannelPruning:
    """A network with fewer channels, and how wide its layers were and are."""

    network: nn.Module
    widths: dict[str, tuple[int, int]]
    """Layer → output channels before and after, of all layers that can lose some."""


def prune_to_budget(
    network: nn.Module,
    importance: Importance,
    image_shape: Sequence[int],
    budget: Budget,
    floor: float = 0.1,
    charge_parameters: bool = False,
) -> ChannelPruning:
    """As many channels as fit into a budget.

    The lowest scores go first. Where the limit of parameters alone leaves too many MACs, scores are charged for these,
    after Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2.4:

        score - λ · MACs that the whole network saves without the channel

    λ rises until what fits the limit of parameters fits that of MACs, too, and 1 at most (`_charged` has its unit).
    Channels go until both limits hold; of all λ the one counts that keeps the highest sum of scores. With
    `charge_parameters` scores are charged for the parameters that are saved, with every λ: wide deep layers, whose
    channels have thousands, lose more, and the first ones, which have few and compute most, less.

    Args:
        network: has a specification; it stays as it is.
        importance: scores per channel.
        image_shape: (channels, rows, columns) of an input, of which MACs are counted.
        budget: what is left at most.
        floor: share of a layer's channels, 0…1, that stay in any case.
        charge_parameters: of a budget of parameters without MACs.

    Raises:
        BuildRefused: the floor does not allow so little, or a score is no number.
    """
    groups = _groups(network, image_shape)
    scores = _scores(network, groups, importance)
    cost = WidthCost(network, groups, image_shape)

    _refuse_what_the_floor_forbids(groups, cost, budget, floor)
    parameters, macs = zip(*cost.savings_of_a_channel(), strict=True)
    both = budget.macs is not None and budget.parameters is not None
    found = []
    for charge in _CHARGES if both or charge_parameters else [0.0]:
        order = _order(_charged(scores, macs if both else parameters, charge))
        found.append(_narrowed(groups, cost, order, budget, floor))
        if both and not budget.exceeded_by(cost.at(_narrowed(groups, cost, order, Budget(budget.parameters), floor))):
            break
    best = max(found, key=lambda widths: _kept(scores, widths))
    return _pruned(network, image_shape, groups, scores, best)


def prune_share(
    network: nn.Module, importance: Importance, image_shape: Sequence[int], share: float, floor: float = 0.1
) -> ChannelPruning:
    """Without this share, 0…1, of all channels that can go, up to the rounding of widths and what the floor keeps."""
    if not 0 <= share < 1:
        raise BuildRefused(f"share={share} must be at least 0 and below 1")
    groups = _groups(network, image_shape)
    scores = _scores(network, groups, importance)
    order = _order(scores)
    widths = _widths(groups, order, round(share * len(order)), floor)
    return _pruned(network, image_shape, groups, scores, widths)


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


def _groups(network: nn.Module, image_shape: Sequence[int]) -> list[ChannelGroup]:
    groups = channel_groups(network, image_shape)
    if not groups:
        raise BuildRefused("the network has no layer whose channels can go")
    return groups


def _scores(network: nn.Module, groups: Sequence[ChannelGroup], importance: Importance) -> list[Tensor]:
    scores = [group_scores(network, group, importance) for group in groups]
    for group, each in zip(groups, scores, strict=True):
        if not torch.isfinite(each).all():
            raise BuildRefused(f"layer {group.root} has weights that are no numbers: its channels cannot be ranked")
    return scores


def _kept(scores: Sequence[Tensor], widths: Sequence[int]) -> float:
    """Sum of the scores of the channels that stay."""
    return sum(float(each.topk(width).values.sum()) for each, width in zip(scores, widths, strict=True))


def _charged(scores: Sequence[Tensor], costs: Sequence[int], charge: float) -> list[Tensor]:
    """A charge of 1 takes as much from the costliest channel as lies between the lowest and the highest score."""
    every = torch.cat(list(scores))
    span = float(every.max() - every.min())
    return [each - charge * span * cost / max(costs) for each, cost in zip(scores, costs, strict=True)]


def _order(scores: Sequence[Tensor]) -> np.ndarray:
    """The group of every channel of the network, the channel of lowest score first."""
    owners = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    return owners[np.argsort(torch.cat(list(scores)).numpy(), kind="stable")]


def _refuse_what_the_floor_forbids(
    groups: Sequence[ChannelGroup], cost: WidthCost, budget: Budget, floor: float
) -> None:
    least = [_narrowest(group, floor) for group in groups]
    broken = budget.exceeded_by(cost.at(least))
    if broken:
        told = (f"{name}={limit:,} cannot be met: floor={floor} leaves {has:,}" for name, limit, has in broken)
        raise BuildRefused(f"{', '.join(told)}; lower the floor or raise what cannot be met")


def _narrowed(
    groups: Sequence[ChannelGroup], cost: WidthCost, order: np.ndarray, limits: Budget, floor: float
) -> list[int]:
    """Widths when as few channels go, in this order, as the limits ask."""

    def holds(cut: int) -> bool:
        return not limits.exceeded_by(cost.at(_widths(groups, order, cut, floor)))

    return _widths(groups, order, _first(holds, len(order)), floor)


def _widths(groups: Sequence[ChannelGroup], order: np.ndarray, cut: int, floor: float) -> list[int]:
    """Channels of every group when the `cut` least important ones go; falls when `cut` rises."""
    gone = np.bincount(order[:cut], minlength=len(groups)).tolist()
    return [
        max(_narrowest(group, floor), friendly_width(group.channels - less, group.channels)) if less else group.channels
        for group, less in zip(groups, gone, strict=True)
    ]


def _narrowest(group: ChannelGroup, floor: float) -> int:
    """The friendly width at or above what the floor keeps."""
    least = max(1, math.ceil(floor * group.channels))
    width = friendly_width(least, group.channels)
    if width < least:
        width = min(group.channels, width + (_LARGE_STEP if width >= _LARGE_STEP else _SMALL_STEP))
    return width


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
    scores: Sequence[Tensor],
    widths: Sequence[int],
) -> ChannelPruning:
    keep = {
        group.root: each.argsort(descending=True, stable=True)[:width].sort().values
        for group, each, width in zip(groups, scores, widths, strict=True)
    }
    before_and_after = {
        name: (group.channels, width) for group, width in zip(groups, widths, strict=True) for name in group.layers
    }
    return ChannelPruning(keep_channels(network, image_shape, keep), before_and_after)
