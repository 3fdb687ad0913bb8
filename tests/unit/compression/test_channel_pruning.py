import math

import pytest
import torch
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks import families
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.resnet import resnet20
from edgedet_compression.pruning.budget import Budget, WidthCost
from edgedet_compression.pruning.channel_groups import channel_groups, group_scores
from edgedet_compression.pruning.channels import friendly_width, keep_channels, prune_share, prune_to_budget
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.importance import CRITERIA, network_slimming, random_scores, std_prune
from edgedet_compression.pruning.layers import remove_coarse_branch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.unit.compression.prunable_networks import IMAGE, small_vgg, small_yolo

pytestmark = pytest.mark.needs_torch

NETWORKS = (small_vgg, small_yolo)


def _outputs(network, images):
    with torch.no_grad():
        found = network(images)
    return found if isinstance(found, list) else [found]


def _same(first, second, tolerance=0.0):
    return all(torch.allclose(a, b, atol=tolerance, rtol=0) for a, b in zip(first, second, strict=True))


def _images():
    return torch.randn(2, *IMAGE, generator=torch.Generator().manual_seed(0))


def test_layers_that_a_residual_sum_adds_up_are_one_group():
    groups = channel_groups(small_yolo(), IMAGE)
    residual = next(group for group in groups if len(group.layers) > 1)
    assert set(residual.layers) == {"layers.1.0", "layers.3.0", "layers.6.0"}
    assert residual.layers["layers.3.0"] == "layers.3.1"
    assert set(residual.readers) == {"layers.2.0", "layers.5.0", "layers.9.0", "layers.17.0"}


def _layers(network):
    return [name for group in channel_groups(network, IMAGE) for name in group.layers]


def test_outputs_are_protected():
    assert not {"layers.11.0", "layers.18.0"} & set(_layers(small_yolo()))
    assert "classifier.3" not in _layers(small_vgg())


def test_every_other_layer_is_in_exactly_one_group():
    for make, outputs in ((small_vgg, 1), (small_yolo, 2)):
        network = make()
        layers = _layers(network)
        count = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())
        assert len(layers) == len(set(layers)) == count - outputs


def test_a_resnet_with_fixed_shortcuts_gives_up_inner_channels_alone():
    network = resnet20().eval()
    groups = channel_groups(network, (3, 32, 32))
    assert sorted(name for group in groups for name in group.layers) == sorted(
        f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)
    )
    pruned = prune_share(network, std_prune, (3, 32, 32), 0.5).network
    assert pruned(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert families.parameter_count(pruned) < families.parameter_count(network)


def test_a_layer_that_loses_nothing_keeps_a_width_that_is_not_round():
    def all_but_fc2(layer):
        return torch.full((len(layer.weight),), float(layer.name == "fc2"))

    pruned = prune_share(LeNet(), all_but_fc2, (1, 28, 28), 0.3)
    assert any(after < before for before, after in pruned.widths.values())
    assert pruned.widths["fc2"] == (84, 84)
    assert pruned.network.fc2.out_features == 84


def test_groups_are_found_in_networks_whose_weights_are_frozen_and_training_mode_is_kept():
    network = small_yolo().requires_grad_(False).train()
    assert channel_groups(network, IMAGE) == channel_groups(small_yolo(), IMAGE)
    assert network.training


@pytest.mark.parametrize("make", NETWORKS)
@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.9))
def test_removing_channels_that_are_zero_leaves_the_outputs_unchanged(make, seed, share):
    network = make(seed)
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for group in channel_groups(network, IMAGE):
        order = torch.randperm(group.channels, generator=generator)
        gone = order[: min(group.channels - 1, int(share * group.channels))]
        keep[group.root] = order[len(gone) :].sort().values
        with torch.no_grad():
            for name in group.layers.values():
                norm = network.get_submodule(name)
                norm.weight[gone] = 0
                norm.bias[gone] = 0
    pruned = keep_channels(network, IMAGE, keep)
    assert families.parameter_count(pruned) < families.parameter_count(network)
    assert _same(_outputs(pruned, _images()), _outputs(network, _images()), 1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_channels_of_zero_are_the_first_to_go(make):
    network = make()
    with torch.no_grad():
        for group in channel_groups(network, IMAGE):
            for name in group.layers.values():
                norm = network.get_submodule(name)
                norm.weight[::2] = 0
                norm.bias[::2] = 0
    before = _outputs(network, _images())
    pruned = prune_share(network, std_prune, IMAGE, 0.5).network
    assert families.parameter_count(pruned) < 0.5 * families.parameter_count(network)
    assert _same(_outputs(pruned, _images()), before, 1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_specification_and_state_rebuild_the_pruned_network(make):
    pruned = prune_share(make(), std_prune, IMAGE, 0.4).network
    rebuilt = families.build(pruned.specification())
    rebuilt.load_state_dict(pruned.state_dict())
    assert _same(_outputs(rebuilt.eval(), _images()), _outputs(pruned, _images()))


@pytest.mark.parametrize("make", NETWORKS)
def test_a_budget_of_parameters_is_met_and_used(make):
    network = make()
    full = families.parameter_count(network)
    for share in (0.8, 0.5, 0.2):
        result = prune_to_budget(network, std_prune, IMAGE, Budget(int(share * full)), floor=0.05)
        assert 0.5 * share * full <= families.parameter_count(result.network) <= share * full
    assert families.parameter_count(network) == full


def test_a_budget_that_is_there_already_removes_nothing():
    network = small_yolo()
    result = prune_to_budget(network, std_prune, IMAGE, Budget(families.parameter_count(network)))
    assert result.widths
    assert all(after == before for before, after in result.widths.values())
    assert _same(_outputs(result.network, _images()), _outputs(network, _images()))


def test_a_budget_below_the_floor_is_refused_with_what_can_be_reached():
    with pytest.raises(BuildRefused, match=r"parameters=100 cannot be met: floor=0.5 leaves \d"):
        prune_to_budget(small_vgg(), std_prune, IMAGE, Budget(100), floor=0.5)
    both = r"parameters=100 cannot be met: floor=0.5 leaves \S+, macs=200 cannot be met: floor=0.5 leaves \S+; lower"
    with pytest.raises(BuildRefused, match=both):
        prune_to_budget(small_vgg(), std_prune, IMAGE, Budget(100, 200), floor=0.5)


def test_a_network_with_a_weight_that_is_no_number_is_refused_by_its_layer():
    network = small_vgg()
    layer = channel_groups(network, IMAGE)[1].root
    with torch.no_grad():
        network.get_submodule(layer).weight[0] = math.nan
    with pytest.raises(BuildRefused, match=f"layer {layer} has weights that are no numbers"):
        prune_share(network, std_prune, IMAGE, 0.5)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_budget_of_macs_is_met_and_used(make):
    network = make()
    full = count_cost(network, IMAGE).macs
    for share in (0.8, 0.5, 0.2):
        result = prune_to_budget(network, std_prune, IMAGE, Budget(macs=int(share * full)), floor=0.05)
        assert 0.5 * share * full <= count_cost(result.network, IMAGE).macs <= share * full


@pytest.mark.parametrize(
    ("make", "image"), [*((make, IMAGE) for make in NETWORKS), (LeNet, (1, 28, 28)), (resnet20, (3, 32, 32))]
)
def test_the_cost_of_widths_is_that_of_the_network_built_with_them(make, image):
    """LeNet's first fully connected layer reads 16 numbers of a channel; in ResNet-20 sums couple layers."""
    network = make()
    groups = channel_groups(network, image)
    built = prune_share(network, std_prune, image, 0.6)
    widths = [built.widths[group.root][1] for group in groups]
    assert WidthCost(network, groups, image).at(widths) == count_cost(built.network, image)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_budget_of_parameters_and_macs_is_met(make):
    network = make()
    whole = count_cost(network, IMAGE)
    for budget in (Budget(whole.parameters // 2, whole.macs // 4), Budget(whole.parameters // 4, whole.macs // 2)):
        both = prune_to_budget(network, std_prune, IMAGE, budget, floor=0.05)
        assert not budget.exceeded_by(count_cost(both.network, IMAGE))


def test_where_macs_are_scarce_more_parameters_stay_than_in_the_order_of_scores():
    network = small_vgg()
    whole = count_cost(network, IMAGE)
    budget = Budget(whole.parameters // 2, whole.macs // 4)
    both = prune_to_budget(network, std_prune, IMAGE, budget, floor=0.05)
    by_score = prune_to_budget(network, std_prune, IMAGE, Budget(macs=budget.macs), floor=0.05)
    assert families.parameter_count(by_score.network) < families.parameter_count(both.network) <= budget.parameters


@pytest.mark.parametrize("make", NETWORKS)
def test_a_looser_limit_of_parameters_keeps_as_much_of_the_scores(make):
    network = make()
    whole = count_cost(network, IMAGE)
    scores = {group.root: group_scores(network, group, std_prune) for group in channel_groups(network, IMAGE)}

    def kept(parameters: int) -> float:
        pruned = prune_to_budget(network, std_prune, IMAGE, Budget(parameters, whole.macs // 4), floor=0.05)
        widths = pruned.widths
        return sum(float(each.sort(descending=True).values[: widths[root][1]].sum()) for root, each in scores.items())

    found = [kept(whole.parameters * share // 8) for share in (3, 4, 6, 8)]
    assert found == sorted(found)


def test_macs_for_which_the_budget_of_parameters_leaves_room_charge_nothing():
    network = small_vgg()
    whole = count_cost(network, IMAGE)
    both = prune_to_budget(network, std_prune, IMAGE, Budget(whole.parameters // 2, whole.macs))
    assert both.widths == prune_to_budget(network, std_prune, IMAGE, Budget(whole.parameters // 2)).widths


@pytest.mark.parametrize("make", NETWORKS)
def test_charged_for_parameters_more_of_the_scores_stays(make):
    network = make()
    budget = Budget(count_cost(network, IMAGE).parameters // 3)
    plain = prune_to_budget(network, std_prune, IMAGE, budget, floor=0.05)
    charged = prune_to_budget(network, std_prune, IMAGE, budget, floor=0.05, charge_parameters=True)
    scores = {group.root: group_scores(network, group, std_prune) for group in channel_groups(network, IMAGE)}

    def kept(widths: dict[str, tuple[int, int]]) -> float:
        return sum(float(each.topk(widths[root][1]).values.sum()) for root, each in scores.items())

    cost = count_cost(charged.network, IMAGE)
    assert not budget.exceeded_by(cost)
    assert kept(charged.widths) > kept(plain.widths)
    assert cost.macs > count_cost(plain.network, IMAGE).macs


def test_a_share_out_of_range_is_refused_by_name():
    with pytest.raises(BuildRefused, match="share=1"):
        prune_share(small_vgg(), std_prune, IMAGE, 1)


@pytest.mark.parametrize("make", NETWORKS)
def test_widths_are_such_as_kernels_like_and_respect_the_floor(make):
    result = prune_share(make(), network_slimming, IMAGE, 0.7, floor=0.4)
    assert result.widths
    for name, (before, after) in result.widths.items():
        assert result.network.get_submodule(name).weight.shape[0] == after
        assert 0.4 * before <= after < before
        assert after % (16 if after >= 16 else 4) == 0


@given(wanted=st.integers(1, 2000), channels=st.integers(1, 2000))
def test_a_friendly_width_is_near_and_never_more_than_there_are(wanted, channels):
    width = friendly_width(wanted, channels)
    assert 1 <= width <= channels
    assert width == channels or width % (16 if width >= 16 else 4) == 0
    assert abs(width - wanted) <= 8 or width == channels
    assert width <= friendly_width(wanted + 1, channels)


def test_channel_pruning_composes_with_itself():
    once = prune_share(small_yolo(), std_prune, IMAGE, 0.3).network
    twice = prune_share(once, random_scores(1), IMAGE, 0.4).network
    assert families.parameter_count(twice) < families.parameter_count(once)
    assert len(_outputs(twice, _images())) == 2


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_prunes_to_the_same_budget(name):
    network = small_vgg()
    budget = families.parameter_count(network) // 2
    assert families.parameter_count(prune_to_budget(network, CRITERIA[name], IMAGE, Budget(budget)).network) <= budget


def test_the_pruned_network_learns_and_keeps_the_mode():
    network = small_vgg().train()
    pruned = prune_share(network, std_prune, IMAGE, 0.4).network
    assert pruned.training
    pruned(_images()).sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


def test_fewer_channels_cost_fewer_macs():
    network = small_yolo()
    assert count_cost(prune_share(network, std_prune, IMAGE, 0.5).network, IMAGE).macs < count_cost(network, IMAGE).macs


def test_channel_pruning_composes_with_layer_pruning():
    student = remove_coarse_branch(small_yolo())
    pruned = prune_share(student, std_prune, IMAGE, 0.4).network
    (maps,) = _outputs(pruned, _images())
    assert maps.shape == (2, 16, 8, 8)
    assert families.parameter_count(pruned) < families.parameter_count(student)
