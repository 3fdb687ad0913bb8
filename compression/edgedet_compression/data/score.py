"""Accuracy of a network with what a paired comparison needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from edgedet_evaluation.intervals import Estimate, bootstrap_interval, bootstrap_share
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassFigure:
    """The figure of one class alone (0…1), and of how many photos or boxes."""

    value: float
    count: int


@dataclass(frozen=True)
class Score:
    """A figure (0…1) and its bootstrap replicates [r]; those of two networks on the same photos are paired."""

    figure: str
    value: float
    replicates: NDArray[np.float64]
    photos: int
    interval: Estimate | None = None
    """Where the figure has a better one than the bootstrap's, which is no interval once all photos are right."""
    classes: Mapping[str, ClassFigure] = field(default_factory=dict)
    """By label, where the figure is told of each; without those that no photo or box has."""

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        return self.interval or bootstrap_share(self.value, self.replicates)

    def minus(self, other: "Score") -> Estimate:
        """The paired difference."""
        return bootstrap_interval(self.value - other.value, self.replicates - other.replicates)
