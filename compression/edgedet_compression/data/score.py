"""Accuracy of a network with what a paired comparison needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from edgedet_evaluation.intervals import (
    Estimate,
    bootstrap_interval,
    bootstrap_share,
    paired_difference,
    proportion,
)
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassFigure:
    """The figure of one class alone (0…1), and of how many photos or boxes."""

    value: float
    count: int


class Score(Protocol):
    """A figure (0…1); those of two networks on the same photos are paired."""

    @property
    def figure(self) -> str:
        """What it is called."""

    @property
    def photos(self) -> int:
        """How many it was measured on."""

    @property
    def classes(self) -> Mapping[str, ClassFigure]:
        """The same figure by label, where it is told of each; without those that no photo or box has."""

    @property
    def estimate(self) -> Estimate:
        """The figure with its 95 % interval."""

    def minus(self, other: Any) -> Estimate:
        """The paired difference to another network's score of the same kind."""


@dataclass(frozen=True)
class ShareRight:
    """The share of a classifier's answers that are right, one a photo."""

    right: NDArray[np.bool_]
    """[photos]"""
    classes: Mapping[str, ClassFigure]
    figure = "top1"

    @property
    def photos(self) -> int:
        """How many it was measured on."""
        return len(self.right)

    @property
    def estimate(self) -> Estimate:
        """With Wilson's interval, which has a width where all photos are right, too."""
        return proportion(int(self.right.sum()), len(self.right))

    def minus(self, other: "ShareRight") -> Estimate:
        """The paired difference."""
        return paired_difference(other.right, self.right)


@dataclass(frozen=True)
class MeanPrecision:
    """mAP50 or mAP50-95 of a detector, with its bootstrap replicates [r]."""

    figure: str
    value: float
    replicates: NDArray[np.float64]
    photos: int
    classes: Mapping[str, ClassFigure] = field(default_factory=dict)

    @property
    def estimate(self) -> Estimate:
        """With its bootstrap interval."""
        return bootstrap_share(self.value, self.replicates)

    def minus(self, other: "MeanPrecision") -> Estimate:
        """The paired difference."""
        return bootstrap_interval(self.value - other.value, self.replicates - other.replicates)
