"""What a stage has at hand: its recipe, the data, its folder, and the networks of the stages that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from edgedet_runtime.package import Package, load_package
from torch import nn

from edgedet_compression.data.classification_data import ClassificationData
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.distillation.teacher import Teacher
from edgedet_compression.errors import BuildRefused
from edgedet_compression.progress import Progress
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import write_sparse
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe import Recipe
from edgedet_compression.recipe_stages import (
    Distillation,
    FreshCopyStage,
    PruneChannelsStage,
    QuantizeStage,
    Reference,
)
from edgedet_compression.runs import StageFolder

ANSWERS = "answers.sqlite"
SPARSE = "network.sparse"
OpenData = DetectionData | ClassificationData
Figures = dict[str, Any]
"""What a stage puts into its result, as JSON."""


@dataclass(frozen=True)
class Context:
    """Of one stage."""

    recipe: Recipe
    data: OpenData
    folder: StageFolder
    read: Mapping[Reference, StageFolder]
    data_folder: Path | None
    """Where weights that were given are found."""
    models: Path
    """Where packages go."""
    runs: Path
    """Where all recipes' runs are kept."""
    progress: Progress

    def network(self, reference: Reference) -> nn.Module:
        """The network of a stage that this one names, in evaluation mode."""
        return self.read[reference].network()

    def float_network(self, stage: QuantizeStage | PruneChannelsStage | FreshCopyStage) -> nn.Module:
        """What a stage starts from that could do nothing with quantizers.

        Raises:
            BuildRefused: it has some.
        """
        network = self.network(stage.start)
        if isinstance(network, LowBitNetwork):
            raise BuildRefused(f"stage {stage.name}: {stage.start} has 4 bits: start from the float network before it")
        return network

    def teacher(self, distillation: Distillation | None) -> Teacher | None:
        """What a training follows, if there is such a thing."""
        if distillation is None:
            return None
        network = self.network(distillation.teacher).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        return Teacher(network, self.read[distillation.teacher].path / ANSWERS)

    def package(self, reference: Reference) -> Package:
        """The package of an export stage that this one names.

        Raises:
            BuildRefused: another one has taken its place.
        """
        result = self.read[reference].result()
        package = load_package(Path(result["package"]))
        if package.digest != result["digest"]:
            raise BuildRefused(
                f"{package.folder} is not what {reference} exported: rename package there, and run again"
            )
        return package

    def pruned(self, reference: Reference) -> bool:
        """Whether `prune-weights` had zeroed weights of a named stage's network."""
        return "sparsity" in self.read[reference].result()

    def zeros(self, reference: Reference, network: nn.Module) -> Figures:
        """Of a network made from that of a named stage that has zeros: their share, and the bytes of its sparse file.

        Stages that hand weights on put it into their result: there the next one sees that there are zeros to keep.
        """
        if not self.pruned(reference):
            return {}
        return {"sparsity": sparsity(prunable_weights(network)).total, **self.sparse_file(network)}

    def sparse_file(self, network: nn.Module) -> Figures:
        """Write the network with its zeros coded; one with quantizers has none: its package holds fewer bits."""
        if isinstance(network, LowBitNetwork):
            return {}
        size = write_sparse(network, self.folder.path / SPARSE)
        return {"bytes_sparse": size.total, "files": [SPARSE]}
