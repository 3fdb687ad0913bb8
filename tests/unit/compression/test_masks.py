import copy

import pytest
import torch
from edgedet_compression.pruning.criteria import one_threshold
from edgedet_compression.pruning.masks import apply_masks, holding, prunable_weights, sparsity
from torch import nn

from tests.unit.compression.prunable_networks import IMAGE, small_vgg, small_yolo

pytestmark = pytest.mark.needs_torch


def test_only_weights_of_convolutions_and_fully_connected_layers_are_prunable():
    network = small_vgg()
    names = set(prunable_weights(network))
    layers = (nn.Conv2d, nn.Linear)
    assert names == {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, layers)}


def test_the_first_and_the_last_layer_can_be_spared():
    network = small_vgg()
    every = list(prunable_weights(network))
    assert list(prunable_weights(network, "first")) == every[1:]
    assert list(prunable_weights(network, "last")) == every[:-1]
    assert list(prunable_weights(network, "first and last")) == every[1:-1]


def test_the_last_layers_of_a_yolo_network_are_those_of_all_its_heads():
    network = small_yolo()
    every, heads = list(prunable_weights(network)), ["layers.11.0.weight", "layers.18.0.weight"]
    assert list(prunable_weights(network, "last")) == [name for name in every if name not in heads]
    assert list(prunable_weights(network, "first and last")) == [name for name in every[1:] if name not in heads]


def test_what_is_held_stays_zero_while_training_in_the_network_and_in_its_average():
    network = small_vgg().train()
    weights = prunable_weights(network)
    masks = one_threshold(weights, 0.7)
    hold, average = holding(masks), copy.deepcopy(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        network(torch.randn(4, *IMAGE)).square().sum().backward()
        optimizer.step()
        hold(network)
    hold(average)
    for each in (network, average):
        held = prunable_weights(each)
        assert all(not held[name][~mask].any() for name, mask in masks.items())
        assert all(held[name][mask].all() for name, mask in masks.items())


def test_sparsity_counts_zeros_by_layer_and_in_total():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    masks = {"0.weight": torch.zeros(4, 4, dtype=torch.bool), "1.weight": torch.ones(1, 4, dtype=torch.bool)}
    apply_masks(network, masks)
    found = sparsity(prunable_weights(network))
    assert found.layers == {"0.weight": 1.0, "1.weight": 0.0}
    assert found.total == pytest.approx(0.8)
