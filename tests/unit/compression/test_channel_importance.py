import math

import pytest
import torch
from edgedet_compression.pruning.importance import (
    CRITERIA,
    PrunableLayer,
    geometric_median,
    l1_norm,
    network_slimming,
    random_scores,
    rank_correlation,
    std_prune,
)
from edgedet_compression.pruning.sparsity import gamma_penalty
from torch import nn

from tests.unit.compression.prunable_networks import small_vgg

pytestmark = pytest.mark.needs_torch


def _layer(seed=0, scale=1.0):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(12)
    nn.init.normal_(norm.weight)
    return PrunableLayer("layer", scale * torch.randn(12, 4, 3, 3), norm)


@pytest.mark.parametrize("name", CRITERIA)
def test_every_channel_gets_a_score_that_does_not_follow_the_scale_of_the_layer(name):
    scores = CRITERIA[name](_layer())
    assert scores.shape == (12,)
    assert not scores.requires_grad
    assert (scores >= 0).all()
    assert torch.allclose(scores, CRITERIA[name](_layer(scale=7.0)), rtol=1e-4)


def test_std_prune_is_gamma_times_the_deviation_around_the_channels_mean():
    layer = _layer()
    rows = layer.weight.reshape(12, -1).double()
    deviations = ((rows - rows.mean(1, keepdim=True)) ** 2).mean(1).sqrt()
    expected = layer.norm.weight.abs() * deviations / deviations.mean()
    assert torch.allclose(std_prune(layer).double(), expected.double(), rtol=1e-5)


def test_a_channel_of_equal_weights_and_one_without_gamma_have_no_score():
    layer = _layer()
    with torch.no_grad():
        layer.weight[3] = 5.0
        layer.norm.weight[4] = 0.0
    scores = std_prune(layer)
    assert scores[3] == pytest.approx(0, abs=1e-6)
    assert scores[4] == 0
    assert (scores[[0, 1, 2]] > 0.01).all()


def test_without_batchnorm_gamma_counts_as_one():
    layer = PrunableLayer("layer", _layer().weight, None)
    assert (network_slimming(layer) == 1).all()


def test_a_copy_of_another_channel_is_nearer_to_the_geometric_median():
    layer = _layer()
    with torch.no_grad():
        layer.weight[1:6] = layer.weight[0]
    scores = geometric_median(layer)
    assert scores[:6].max() < scores[6:].min()


def test_random_scores_depend_on_seed_and_layer_alone():
    layer = _layer()
    other = PrunableLayer("other", layer.weight, layer.norm)
    assert torch.equal(random_scores(1)(layer), random_scores(1)(layer))
    assert not torch.equal(random_scores(1)(layer), random_scores(2)(layer))
    assert not torch.equal(random_scores(1)(layer), random_scores(1)(other))


def test_rank_correlation_is_one_for_the_same_order_and_minus_one_for_the_opposite():
    scores = l1_norm(_layer())
    assert rank_correlation(scores, scores.exp()) == pytest.approx(1)
    assert rank_correlation(scores, -scores) == pytest.approx(-1)
    assert math.isnan(rank_correlation(scores, torch.ones(12)))


def test_for_filters_without_mean_deviation_and_l2_norm_rank_alike():
    layer = PrunableLayer("layer", _layer().weight * torch.rand(12, 1, 1, 1), None)
    assert rank_correlation(std_prune(layer), CRITERIA["l2-norm"](layer)) > 0.95


def test_the_penalty_is_l1_and_l2_of_all_gammas_and_pulls_them_to_zero():
    network = small_vgg()
    gammas = [module.weight for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    flat = torch.cat(gammas).detach()
    penalty = gamma_penalty(0.1, 0.01)(network)
    assert penalty.item() == pytest.approx((0.1 * flat.abs() + 0.01 * flat**2).sum().item(), rel=1e-5)
    penalty.backward()
    assert torch.allclose(torch.cat([gamma.grad for gamma in gammas]), 0.1 * flat.sign() + 0.02 * flat)
    assert gamma_penalty(1, 1)(nn.Conv2d(1, 1, 1)) == 0
