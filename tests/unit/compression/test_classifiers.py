"""VGG, CIFAR ResNets and LeNet: sizes, specifications, what is left after pruning, and export."""

from pathlib import Path

import pytest
import torch
import torch_pruning
from edgedet_compression.errors import BuildRefused, SourceMissing, SourceUnreadable
from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.families import build, load_network, parameter_count, save_network, state_bytes
from edgedet_compression.networks.lenet import LeNet, load_lenet
from edgedet_compression.networks.resnet import CifarResNet, load_akamaster, resnet20, resnet32, resnet56
from edgedet_compression.networks.vgg import VGG, vgg16, vgg19
from torch import nn

pytestmark = pytest.mark.needs_torch


def small_vgg() -> VGG:
    return VGG([8, "M", 12, "M", 16, "M", 16, "M", 16, "M"], 16, 10)


def small_resnet() -> CifarResNet:
    return CifarResNet([[16, 8], [32, 24], [64, 12]], 10)


SMALL = [(small_vgg, (3, 32, 32)), (small_resnet, (3, 32, 32)), (LeNet, (1, 28, 28))]


def settled(make) -> nn.Module:
    """A network in evaluation mode whose BatchNorms are not neutral."""
    torch.manual_seed(0)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var, module.bias, module.running_mean):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (vgg16, 14_987_722),
        (vgg19, 20_298_698),
        (resnet20, 269_722),
        (resnet32, 464_154),
        (resnet56, 853_018),
        (LeNet, 44_426),
    ],
)
def test_parameters_are_those_of_the_literature(make, count: int):
    assert parameter_count(make()) == count


@pytest.mark.parametrize(("make", "shape"), SMALL)
def test_a_file_gives_the_same_network_back(make, shape, tmp_path: Path):
    network = settled(make)
    save_network(network, tmp_path / "net.pt")
    again = load_network(tmp_path / "net.pt")
    images = torch.rand(2, *shape)
    assert torch.equal(again(images), network(images))
    assert again.specification() == network.specification()


@pytest.mark.parametrize(
    ("make", "shape", "layers"),
    [
        (small_vgg, (3, 32, 32), ("features.4", "features.16", "classifier.0")),
        (small_resnet, (3, 32, 32), ("layer1.1.conv1", "layer2.0.conv1", "layer3.1.conv1")),
        (LeNet, (1, 28, 28), ("conv1", "conv2", "fc1", "fc2")),
    ],
)
def test_a_network_that_lost_channels_is_rebuilt_from_its_specification(make, shape, layers):
    network = settled(make)
    groups = torch_pruning.DependencyGraph().build_dependency(network, torch.rand(2, *shape))
    for name in layers:
        layer = network.get_submodule(name)
        groups.get_pruning_group(layer, groups.get_pruner_of_module(layer).prune_out_channels, [0, 2]).prune()
    rebuilt = build(network.specification())
    rebuilt.load_state_dict(network.state_dict())
    images = torch.rand(2, *shape)
    assert torch.equal(rebuilt.eval()(images), network(images))
    assert parameter_count(rebuilt) < parameter_count(make())


@pytest.mark.parametrize(("make", "shape"), SMALL)
def test_export_answers_as_torch_does_with_standard_operators(make, shape):
    model = export_onnx(settled(make), shape)
    assert {node.op_type for node in model.graph.node} <= {
        "Conv", "Relu", "MaxPool", "Gemm", "Flatten", "Add", "GlobalAveragePool",
    }  # fmt: skip


def test_vgg_averages_what_is_left_of_large_images_and_refuses_small_ones():
    network = vgg16(classes=3, size=96).eval()
    assert network(torch.rand(1, 3, 96, 96)).shape == (1, 3)
    assert build(network.specification()).specification() == network.specification()
    assert network.specification().arguments["layers"][-2:] == ["M", "A"]
    with pytest.raises(BuildRefused, match=r"size = 31: .* at least 32 pixels"):
        vgg19(size=31)


def test_vgg_has_no_bias_beside_batchnorm_in_its_convolutions():
    assert all(layer.bias is None for layer in vgg16().modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("make", [vgg16, resnet56])
def test_signals_keep_their_size_through_a_fresh_network(make):
    torch.manual_seed(0)
    network = make()
    seen = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, maps: seen.append(float(maps.detach().std())))
    network(torch.randn(8, 3, 32, 32))
    assert all(0.2 < size < 5 for size in seen)


def test_shortcuts_of_option_a_are_every_second_pixel_between_zeros():
    block = CifarResNet([[16], [32], [64]], 10).layer2[0].eval()
    nn.init.zeros_(block.bn2.weight)
    maps = torch.rand(1, 16, 8, 8)
    found = block(maps)
    assert torch.equal(found[:, 8:24], maps[:, :, ::2, ::2])
    assert not found[:, :8].any()
    assert not found[:, 24:].any()
    assert "selection" not in "".join(block.state_dict())


def test_bytes_are_those_of_what_is_kept():
    network = resnet20()
    counters = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    running = sum(layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)) * 2
    assert state_bytes(network) == 4 * (parameter_count(network) + running) + 8 * counters


@pytest.mark.parametrize(
    "content", [{"conv1.weight": torch.zeros(1)}, {"state_dict": {"module.conv1.weight": torch.zeros(1)}}, [1]]
)
def test_checkpoints_of_other_networks_are_refused_by_name(tmp_path: Path, content):
    torch.save(content, tmp_path / "other.th")
    with pytest.raises(SourceUnreadable, match=r"other\.th is no checkpoint of a CIFAR ResNet"):
        load_akamaster(tmp_path / "other.th")
    with pytest.raises(SourceUnreadable, match=r"other\.th holds no weights of a LeNet"):
        load_lenet(tmp_path / "other.th")


@pytest.mark.parametrize("load", [load_akamaster, load_lenet])
def test_missing_weights_are_told_by_path(tmp_path: Path, load):
    with pytest.raises(SourceMissing, match=r"no weights at .*nothing\.th"):
        load(tmp_path / "nothing.th")
