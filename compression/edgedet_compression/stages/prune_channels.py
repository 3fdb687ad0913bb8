"""The stage `prune-channels`: fewer channels by one criterion, to a budget of parameters, rebuilt dense."""

from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.pruning.channels import prune_to_parameters
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.importance import Importance, l1_norm, network_slimming, random_scores, std_prune
from edgedet_compression.recipe import PruneChannelsStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures


def prune_channels(stage: PruneChannelsStage, context: Context) -> Figures:
    """Prune, write the network; figures tell the widths before and after, parameters and MACs."""
    network = context.network(stage.start)
    shape = context.data.image_shape
    found = prune_to_parameters(network, _importance(stage), shape, stage.parameters, stage.floor)
    save_network(found.network, context.folder.path / NETWORK)
    return {
        "parameters": parameter_count(found.network),
        "parameters_before": parameter_count(network),
        "macs": count_cost(found.network, shape).macs,
        "macs_before": count_cost(network, shape).macs,
        "widths": {layer: list(widths) for layer, widths in found.widths.items()},
    }


def _importance(stage: PruneChannelsStage) -> Importance:
    criteria: dict[str, Importance] = {
        "std-prune": std_prune,
        "l1-norm": l1_norm,
        "network-slimming": network_slimming,
        "random": random_scores(stage.seed),
    }
    return criteria[stage.criterion]
