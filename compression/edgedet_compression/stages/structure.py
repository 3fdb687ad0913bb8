"""Stages that change a network's structure alone: `remove-branch` and `fresh-copy`."""

import torch
from torch import nn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import build, parameter_count, save_network, state_bytes
from edgedet_compression.networks.specification import Specified
from edgedet_compression.pruning.layers import remove_branch as without_branch
from edgedet_compression.recipe_stages import FreshCopyStage, RemoveBranchStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures


def remove_branch(stage: RemoveBranchStage, context: Context) -> Figures:
    """Take the branch out; the weights that stay are the teacher's."""
    network = context.network(stage.start)
    if not isinstance(network, DarknetModule):
        raise BuildRefused(f"stage {stage.name}: {stage.start} is no YOLO network and has no branches")
    found = without_branch(network, stage.stride)
    return _write(found, network, context) | context.zeros(stage.start, found)


def fresh_copy(stage: FreshCopyStage, context: Context) -> Figures:
    """The same structure, initialized by the stage's seed.

    Raises:
        BuildRefused: it has quantizers, whose scales follow from the weights that they begin with.
    """
    network = context.float_network(stage)
    assert isinstance(network, Specified)
    torch.manual_seed(stage.seed)
    return _write(build(network.specification()), network, context)


def _write(network: nn.Module, before: nn.Module, context: Context) -> Figures:
    save_network(network, context.folder.path / NETWORK)
    return {
        "parameters": parameter_count(network),
        "bytes": state_bytes(network),
        "parameters_before": parameter_count(before),
        "bytes_before": state_bytes(before),
    }
