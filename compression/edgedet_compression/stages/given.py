"""The stage `given`: a network that others trained, where a recipe begins with it."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from edgedet_compression.networks.families import parameter_count, save_network, state_bytes
from edgedet_compression.networks.lenet import load_lenet
from edgedet_compression.networks.resnet import load_akamaster
from edgedet_compression.recipe_stages import GivenStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.sources import checked, data_folder, find_weights
from edgedet_compression.stages.context import Context, Figures

_LOADERS: dict[str, Callable[[Path], nn.Module]] = {"cifar-resnet": load_akamaster, "lenet": load_lenet}


def take_given(stage: GivenStage, context: Context) -> Figures:
    """Check the file, write its network.

    Raises:
        SourceMissing: no such file, or no data folder.
        ChecksumMismatch: its content is another one.
    """
    folder, _, name = stage.weights.partition("/")
    file = checked(find_weights(data_folder(context.data_folder), folder, name), stage.sha256)
    network = _LOADERS[stage.family](file)
    save_network(network, context.folder.path / NETWORK)
    return {"parameters": parameter_count(network), "bytes": state_bytes(network), "weights": stage.weights}
