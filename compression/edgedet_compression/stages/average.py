"""The stage `average`: the mean of several networks' weights, with BatchNorm's statistics of that mean."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.families import parameter_count, save_network, state_bytes
from edgedet_compression.networks.specification import Specified
from edgedet_compression.recipe_stages import AverageStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.training.fast_convolutions import FastConvolutions
from edgedet_compression.training.precision import autocast, dtype_of


def average_networks(stage: AverageStage, context: Context) -> Figures:
    """Average the parameters, each network with equal weight; show the mean one epoch of photos; write it.

    Raises:
        BuildRefused: the networks differ in structure.
    """
    first, *others = (context.network(reference) for reference in stage.networks)
    assert isinstance(first, Specified)
    averaged = AveragedModel(first)
    averaged.update_parameters(first)
    for reference, network in zip(stage.networks[1:], others, strict=True):
        assert isinstance(network, Specified)
        if network.specification() != first.specification():
            raise BuildRefused(
                f"stage {stage.name}: {reference} has another structure than {stage.networks[0]}: "
                "name networks of one structure"
            )
        averaged.update_parameters(network)
    found = averaged.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    with autocast(dtype_of("auto")), FastConvolutions():
        update_bn(_images(stage, context), found)
    save_network(found, context.folder.path / NETWORK)
    return {
        "parameters": parameter_count(found),
        "bytes": state_bytes(found),
        **context.zeros(stage.networks[0], found),
    }


def _images(stage: AverageStage, context: Context) -> Iterator[Tensor]:
    """One epoch of images [n, C, H, W]."""
    task = context.data.task(stage.as_training)
    advance = context.progress("BatchNorm's statistics", task.steps)
    for step in range(task.steps):
        yield task.batch(0, step).images
        advance()
