"""The stage `given`: a network that is there already, where a recipe begins with it."""

from collections.abc import Callable
from pathlib import Path

import torch
from edgedet_runtime.package import file_sha256
from torch import Tensor, nn

from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing, SourceUnreadable
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import parameter_count, save_network, state_bytes
from edgedet_compression.networks.lenet import load_lenet
from edgedet_compression.networks.resnet import load_akamaster
from edgedet_compression.networks.yolov3 import YOLOv3, YOLOv3Tiny, begin_with
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import is_sparse, read_sparse
from edgedet_compression.recipe_stages import GivenStage, NetworkSettings
from edgedet_compression.runs import NETWORK
from edgedet_compression.sources import find_weights
from edgedet_compression.stages.context import Context, Figures

_LOADERS: dict[str, Callable[[Path], nn.Module]] = {
    "cifar-resnet": load_akamaster,
    "lenet": load_lenet,
    "sparse": read_sparse,
}
"""Of files that hold a whole network; those of Darknet hold its numbers alone."""


def take_given(stage: GivenStage, context: Context) -> Figures:
    """Check the file, write its network.

    What a sparse file's network has learned, how its photos were normalized and in which order its labels stood is not
    told by the file: data have to be those of the run that wrote it.

    Raises:
        SourceMissing: no such file.
        ChecksumMismatch: its content is another one.
        BuildRefused: the network does something else than the recipe's photos ask for.
        SourceUnreadable: it is of another network than `family` says.
    """
    file = weights_file(stage, context.data_folder)
    network = _LOADERS[stage.family](file) if stage.family in _LOADERS else _begin_with(stage, file, context)
    try:
        _check(network, context)
    except BuildRefused as error:
        raise BuildRefused(f"stage {stage.name}: {file} {error}") from error
    save_network(network, context.folder.path / NETWORK)
    figures = {"parameters": parameter_count(network), "bytes": state_bytes(network), "weights": stage.weights}
    if stage.family == "sparse":  # stages after it keep the zeros
        figures |= {"sparsity": sparsity(prunable_weights(network)).total, "bytes_sparse": file.stat().st_size}
    return figures


def _begin_with(stage: GivenStage, file: Path, context: Context) -> nn.Module:
    """A YOLO network for the recipe's labels and size that begins with the numbers of a file of Darknet's."""
    network = context.data.fresh(NetworkSettings.model_validate({"family": stage.family}), seed=0)
    assert isinstance(network, YOLOv3 | YOLOv3Tiny)
    try:
        begin_with(network, file.read_bytes())
    except SourceUnreadable as error:
        raise SourceUnreadable(f"stage {stage.name}: {file} is of no {stage.family}: {error}") from error
    return network


def weights_file(stage: GivenStage, data: Path | None) -> Path:
    """The file, its content checked; `data` is the data folder, if one was named.

    Raises:
        SourceMissing: no such file.
        ChecksumMismatch: its content is another one.
        BuildRefused: it is one of `prune-weights`, and `family` says otherwise.
    """
    file = _checked_file(stage, data)
    if stage.family != "sparse" and is_sparse(file):
        raise BuildRefused(f'{file} is a sparse network: give family = "sparse"')
    return file


def _checked_file(stage: GivenStage, data: Path | None) -> Path:
    file = _named_file(stage.weights, data)
    if (found := file_sha256(file)) != stage.sha256:
        raise ChecksumMismatch(
            f"weights: {file} has sha256 {found}, the recipe says {stage.sha256}: correct that, name the file of "
            "that sum, or, where `edgedet-compress fetch` brought it, remove it and fetch it again"
        )
    return file


def _named_file(weights: str, data: Path | None) -> Path:
    if not weights.startswith("/"):
        folder, _, name = weights.partition("/")
        return find_weights(data, folder, name)
    file = Path(weights)
    if not file.is_file():
        raise SourceMissing(f"weights: no file {file}")
    return file


def _check(network: nn.Module, context: Context) -> None:
    """Find out whether the network fits the recipe's photos."""
    detects, shape, labels = context.recipe.detects, context.data.image_shape, len(context.data.labels)
    if isinstance(network, DarknetModule) != detects:
        found, wanted = ("classifier", "detector") if detects else ("detector", "classifier")
        raise BuildRefused(f"holds a {found}, and the photos of {context.recipe.data.folder} ask for a {wanted}")
    try:
        classes = network.heads[0].classes if isinstance(network, DarknetModule) else _classes_of(network, shape)
    except RuntimeError as error:
        raise BuildRefused(f"holds a network that takes no photos of {shape} (channels, rows, columns)") from error
    if classes != labels:
        raise BuildRefused(f"holds a network of {classes} classes; {context.recipe.data.folder} has {labels} labels")


def _classes_of(classifier: nn.Module, shape: tuple[int, int, int]) -> int:
    with torch.no_grad():
        logits: Tensor = classifier(torch.zeros(1, *shape))
    return logits.shape[1]
