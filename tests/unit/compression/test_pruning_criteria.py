import itertools

import pytest
import torch
from edgedet_compression.errors import BuildRefused
from edgedet_compression.pruning.criteria import (
    above_deviations,
    above_threshold,
    cubic_sparsity,
    deviations_for,
    equal_deviations,
    equal_percentage,
    one_threshold,
    threshold_for,
)
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.needs_torch

CRITERIA = (one_threshold, equal_percentage, equal_deviations)
shares = st.floats(0, 0.99)
seeds = st.integers(0, 2**31)


def _weights(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (8, 3, 3, 3), "b": (16, 8, 3, 3), "c": (10, 16)}
    return {
        name: (index + 1) * torch.randn(shape, generator=generator)
        for index, (name, shape) in enumerate(shapes.items())
    }


def _zeros(masks):
    return sum(int((~mask).sum()) for mask in masks.values())


@pytest.mark.parametrize("criterion", [one_threshold, equal_deviations])
@settings(max_examples=30)
@given(seed=seeds, share=shares)
def test_the_wanted_total_sparsity_is_met_to_the_weight(criterion, seed, share):
    weights = _weights(seed)
    count = sum(weight.numel() for weight in weights.values())
    assert _zeros(criterion(weights, share)) == round(share * count)


@settings(max_examples=30)
@given(seed=seeds, share=shares)
def test_an_equal_percentage_is_met_in_every_layer(seed, share):
    weights = _weights(seed)
    masks = equal_percentage(weights, share)
    assert all(int((~masks[name]).sum()) == round(share * weight.numel()) for name, weight in weights.items())


@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=30)
@given(seed=seeds, share=st.floats(0, 0.5), more=st.floats(0, 0.45))
def test_what_went_stays_gone_when_the_sparsity_rises(criterion, seed, share, more):
    weights = _weights(seed)
    masks = criterion(weights, share)
    pruned = {name: weight * masks[name] for name, weight in weights.items()}
    later = criterion(pruned, share + more)
    if criterion is not equal_deviations:  # σ changes with what is gone, and with it the order between layers
        assert all(not (later[name] & ~masks[name]).any() for name in weights)
    assert _zeros(later) >= _zeros(masks) - 1


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_larger_weight_of_the_same_layer_never_goes_before_a_smaller_one(criterion):
    weights = _weights(1)
    for name, mask in criterion(weights, 0.7).items():
        magnitudes = weights[name].abs()
        assert magnitudes[mask].min() > magnitudes[~mask].max()


def test_the_threshold_and_the_multiple_of_deviations_that_were_found_give_the_same_masks():
    weights = _weights(2)
    for found, expected in (
        (above_threshold(weights, threshold_for(weights, 0.8)), one_threshold(weights, 0.8)),
        (above_deviations(weights, deviations_for(weights, 0.8)), equal_deviations(weights, 0.8)),
    ):
        assert all(torch.equal(found[name], expected[name]) for name in weights)


def test_the_threshold_by_deviations_follows_the_scale_of_a_layer():
    weights = _weights(3)
    scaled = {name: 100 * weight if name == "a" else weight for name, weight in weights.items()}
    masks, other = above_deviations(weights, 1.0), above_deviations(scaled, 1.0)
    assert all(torch.equal(masks[name], other[name]) for name in weights)


def test_sparsity_zero_keeps_everything_even_zeros():
    weights = {"a": torch.tensor([[0.0, 1.0]])}
    assert all(criterion(weights, 0.0)["a"].all() for criterion in CRITERIA)


def test_a_sparsity_of_one_is_refused_by_name():
    with pytest.raises(BuildRefused, match="sparsity=1"):
        one_threshold(_weights(0), 1)


@settings(max_examples=30)
@given(steps=st.integers(1, 50), final=shares)
def test_the_cubic_schedule_rises_from_zero_to_the_end_by_ever_smaller_steps(steps, final):
    values = [cubic_sparsity(step, steps, final) for step in range(steps + 1)]
    rises = [after - before for before, after in itertools.pairwise(values)]
    assert values[0] == 0
    assert values[-1] == final
    assert all(rise >= 0 for rise in rises)
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(rises))
