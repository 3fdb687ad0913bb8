"""How much a channel matters: criteria that give one score per output channel of a layer, the lowest to go first.

Scores of different layers are sorted together, and BatchNorm makes a layer's outputs independent of how large its
weights are as a whole. Criteria that read weights therefore divide by the layer's mean.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn


@dataclass(frozen=True)
class PrunableLayer:
    """A layer whose output channels can go."""

    name: str
    weight: Tensor
    """[channels, …]"""
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None
    """The BatchNorm behind it."""

    @property
    def rows(self) -> Tensor:
        """The weights of every channel [channels, weights], without gradient."""
        return self.weight.detach().flatten(1)

    @property
    def gamma(self) -> Tensor:
        """|γ| of every channel [channels]; 1 where there is no BatchNorm."""
        return torch.ones(len(self.weight)) if self.norm is None else self.norm.weight.detach().abs()


Importance = Callable[[PrunableLayer], Tensor]
"""One score per output channel [channels]."""


def std_prune(layer: PrunableLayer) -> Tensor:
    """|γ_c| · σ_c / mean σ, where σ_c is the standard deviation of channel c's weights around their mean.

    Std Prune (S1.4) in our reading: the abstract names scaling factors and the deviation of a channel's weights, but
    no formula. A channel whose weights are all alike averages its inputs; one with a small γ is hardly heard.
    """
    return layer.gamma * _relative(layer.rows.std(dim=1, correction=0))


def network_slimming(layer: PrunableLayer) -> Tensor:
    """|γ_c| (Liu et al. 2017)."""
    return layer.gamma


def l1_norm(layer: PrunableLayer) -> Tensor:
    """Σ|w| of a channel (Li et al. 2017), relative to the layer's mean."""
    return _relative(layer.rows.abs().sum(dim=1))


def l2_norm(layer: PrunableLayer) -> Tensor:
    """√Σw² of a channel, relative to the layer's mean."""
    return _relative(layer.rows.norm(dim=1))


def geometric_median(layer: PrunableLayer) -> Tensor:
    """Sum of distances to the layer's other channels (FPGM, He et al. 2019), relative to the layer's mean.

    A channel near the geometric median of all can be made up for by others.
    """
    return _relative(torch.cdist(layer.rows, layer.rows).sum(dim=1))


def random_scores(seed: int) -> Importance:
    """Scores by chance, the same for the same seed and layer name."""

    def score(layer: PrunableLayer) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {layer.name}".encode()))
        return torch.rand(len(layer.weight), generator=generator)

    return score


CRITERIA: Mapping[str, Importance] = {
    "std-prune": std_prune,
    "network-slimming": network_slimming,
    "l1-norm": l1_norm,
    "l2-norm": l2_norm,
    "geometric-median": geometric_median,
}


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's ρ between the scores that two criteria give to the same channels [channels], -1…1.

    Criteria are often almost the same (Huang et al. 2021, *Rethinking the Pruning Criteria*): ρ shows it. NaN where
    one of them does not distinguish channels at all.
    """
    if min(np.ptp(first.numpy()), np.ptp(second.numpy())) == 0:
        return float("nan")
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def _relative(scores: Tensor) -> Tensor:
    mean = scores.mean()
    return scores / mean if mean > 0 else scores
