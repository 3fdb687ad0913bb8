"""What a stage has at hand: its recipe, the data, its folder, and the networks of the stages that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet_runtime.package import Package, load_package
from torch import nn

from edgedet_compression.data.classification_data import ClassificationData
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.progress import Progress
from edgedet_compression.recipe import Recipe
from edgedet_compression.recipe_stages import Reference
from edgedet_compression.runs import StageFolder

OpenData = DetectionData | ClassificationData


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
    progress: Progress

    def network(self, reference: Reference) -> nn.Module:
        """The network of a stage that this one names, in evaluation mode."""
        return self.read[reference].network()

    def package(self, reference: Reference) -> Package:
        """The package of an export stage that this one names."""
        return load_package(Path(self.read[reference].result()["package"]))


Figures = dict[str, Any]
"""What a stage puts into its result, as JSON."""
