"""Which weights go: pure functions from weights to masks, all to be compared at equal sparsity.

A threshold is fixed from the percentage of magnitudes below it, so that each criterion meets a wanted sparsity
exactly; only where magnitudes tie at the threshold, all of them go. Weights that are zero already go first.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from edgedet_compression.errors import BuildRefused
from edgedet_compression.pruning.masks import Masks, Weights

Criterion = Callable[[Weights, float], Masks]
"""Masks of weights at a total sparsity, 0…1."""


def one_threshold(weights: Weights, sparsity: float) -> dict[str, Tensor]:
    """One threshold for all layers ("fixed threshold", global magnitude) at a total sparsity, 0…1."""
    return above_threshold(weights, threshold_for(weights, sparsity))


def equal_percentage(weights: Weights, sparsity: float) -> dict[str, Tensor]:
    """The same percentage out of every layer: one threshold per layer."""
    return {name: weight.abs() > _quantile([weight.abs()], sparsity) for name, weight in weights.items()}


def equal_deviations(weights: Weights, sparsity: float) -> dict[str, Tensor]:
    """The same multiple of σ for every layer, found so that the total sparsity is met."""
    return above_deviations(weights, deviations_for(weights, sparsity))


def above_threshold(weights: Weights, threshold: float) -> dict[str, Tensor]:
    """Masks of |w| > threshold."""
    return {name: weight.abs() > threshold for name, weight in weights.items()}


def above_deviations(weights: Weights, multiple: float) -> dict[str, Tensor]:
    """Masks of |w| > multiple · σ of the layer (Han et al. 2015: the threshold is a quality parameter times σ)."""
    return {name: weight.abs() / _deviation(weight) > multiple for name, weight in weights.items()}


def threshold_for(weights: Weights, sparsity: float) -> float:
    """The threshold that reaches a total sparsity."""
    return _quantile((weight.abs() for weight in weights.values()), sparsity)


def deviations_for(weights: Weights, sparsity: float) -> float:
    """The multiple of σ that reaches a total sparsity."""
    return _quantile((weight.abs() / _deviation(weight) for weight in weights.values()), sparsity)


def cubic_sparsity(step: int, steps: int, final: float, begun: float = 0.0) -> float:
    """s_t = s_i + (s_f − s_i)·(1 − (1 − t/T)³) of step t of T (Zhu & Gupta 2017): much at first, less and less."""
    return begun + (final - begun) * (1 - (1 - step / steps) ** 3)


def _quantile(magnitudes: Iterable[Tensor], sparsity: float) -> float:
    """The magnitude up to which (itself included) this share lies; below all where nothing is to go."""
    if not 0 <= sparsity < 1:
        raise BuildRefused(f"sparsity={sparsity} must be at least 0 and below 1")
    flat = np.concatenate([part.numpy().ravel() for part in magnitudes])
    cut = round(sparsity * flat.size)
    return float(np.partition(flat, cut - 1)[cut - 1]) if cut else -1.0


def _deviation(weight: Tensor) -> Tensor:
    # A layer of equal weights has no deviation; the smallest number stands in, so that all of it stays.
    return torch.clamp_min(weight.std(correction=0), torch.finfo(torch.float32).tiny)
