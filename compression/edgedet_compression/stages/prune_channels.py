"""The stage `prune-channels`: fewer channels by one criterion, to a budget or by a share, rebuilt dense."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.pruning.budget import Budget
from edgedet_compression.pruning.channel_groups import channel_groups, group_scores
from edgedet_compression.pruning.channels import prune_share, prune_to_budget
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.importance import CRITERIA, Importance, random_scores, rank_correlation
from edgedet_compression.recipe_stages import PruneChannelsStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures


def prune_channels(stage: PruneChannelsStage, context: Context) -> Figures:
    """Prune, write the network; figures tell widths, parameters and MACs before and after, and Spearman's ρ to other
    criteria.

    Raises:
        BuildRefused: the criterion ranks nothing in this network, the floor leaves more than the budget, or the network
            is within it already.
    """
    network = context.float_network(stage)
    normalizes = any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in network.modules())
    if stage.criterion == "network-slimming" and not normalizes:
        raise BuildRefused(
            f"stage {stage.name}: criterion network-slimming ranks by BatchNorm, of which {stage.start} has none: "
            "take l1-norm"
        )
    shape = context.data.image_shape
    before = count_cost(network, shape)
    importance = _importance(stage)
    if stage.share is not None:
        found = prune_share(network, importance, shape, stage.share, stage.floor)
    else:
        budget = Budget(stage.parameters, stage.macs)
        if not budget.exceeded_by(before):
            raise BuildRefused(
                f"stage {stage.name}: {stage.start} has {before.parameters:,} parameters and {before.macs:,} MACs, "
                "within the budget, so that no channel would go: give fewer parameters or macs"
            )
        found = prune_to_budget(network, importance, shape, budget, stage.floor, stage.charge_parameters)
    save_network(found.network, context.folder.path / NETWORK)
    return {
        "parameters": parameter_count(found.network),
        "parameters_before": parameter_count(network),
        "macs": count_cost(found.network, shape).macs,
        "macs_before": before.macs,
        "rank_correlation": _correlations(network, shape, importance),
        "widths": {layer: list(widths) for layer, widths in found.widths.items()},
        **context.zeros(stage.start, found.network),
    }


def _importance(stage: PruneChannelsStage) -> Importance:
    return random_scores(stage.seed) if stage.criterion == "random" else CRITERIA[stage.criterion]


def _correlations(network: nn.Module, shape: Sequence[int], importance: Importance) -> dict[str, float | None]:
    """How alike the criterion's ranking of all channels is to that of the others; None where one ranks nothing."""
    groups = channel_groups(network, shape)

    def scores(criterion: Importance) -> Tensor:
        return torch.cat([group_scores(network, group, criterion) for group in groups])

    own = scores(importance)
    found = {name: rank_correlation(own, scores(criterion)) for name, criterion in CRITERIA.items()}
    return {name: None if math.isnan(value) else round(value, 4) for name, value in found.items()}
