import pytest
import torch
from edgedet_compression.networks.vgg import vgg16
from edgedet_compression.pruning.cost import count_cost
from torch import nn

pytestmark = pytest.mark.needs_torch


def test_macs_are_counted_by_hand():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 5 * 4, 3)
    )
    cost = count_cost(network, (4, 10, 8))
    assert cost.macs_by_layer == {"0": 8 * 5 * 4 * 2 * 9, "3": 8 * 5 * 4 * 3}
    assert cost.macs == sum(cost.macs_by_layer.values())
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_vgg16_has_its_published_cost():
    cost = count_cost(vgg16(), (3, 32, 32))
    assert cost.parameters == 14_987_722
    assert cost.macs == pytest.approx(313e6, rel=0.01)


def test_counting_changes_nothing_and_leaves_no_hook():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = network[1].running_mean.clone()
    count_cost(network, (3, 8, 8))
    assert network.training
    assert torch.equal(network[1].running_mean, before)
    assert not network[0]._forward_hooks
