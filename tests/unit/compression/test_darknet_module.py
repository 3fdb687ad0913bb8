"""Darknet networks in torch: the same answers as the ONNX path, weights there and back, specifications."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch_pruning
from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.darknet import build_darknet
from edgedet_compression.networks.darknet_cfg import parse_cfg, parse_cfg_text
from edgedet_compression.networks.darknet_module import (
    DarknetModule,
    darknet_weights,
    load_darknet_weights,
    save_darknet,
)
from edgedet_compression.networks.families import load_network, save_network
from edgedet_compression.networks.yolov3 import ANCHORS, YOLOv3Tiny, yolov3_tiny_cfg
from edgedet_compression.sources import YOLOV3_TINY, find_fetched

from tests.unit.compression.prunable_networks import small_yolo

pytestmark = pytest.mark.needs_torch


def image(size: int = 16) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def answers(network: DarknetModule, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return network(images)


def onnx_answers(model, images: torch.Tensor) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images.numpy()})


def test_maps_are_those_of_the_onnx_path_with_the_same_weights():
    network = small_yolo()
    other = build_darknet(network.description, darknet_weights(network))
    for found, exact in zip(onnx_answers(other.model, image()), answers(network, image()), strict=True):
        np.testing.assert_allclose(found, exact.numpy(), atol=1e-4)
    assert [head.stride for head in other.heads] == [head.stride for head in network.heads] == [4, 2]
    assert [head.anchors for head in other.heads] == [head.anchors for head in network.heads]


@pytest.mark.needs_data
def test_yolov3_tiny_with_its_published_weights_answers_as_its_onnx_path_does(data):
    weights = find_fetched(data, YOLOV3_TINY, YOLOV3_TINY.files[0]).read_bytes()
    network = YOLOv3Tiny().eval()
    load_darknet_weights(network, weights)
    other = build_darknet(network.description, weights)
    for found, exact in zip(onnx_answers(other.model, image(416)), answers(network, image(416)), strict=True):
        np.testing.assert_allclose(found, exact.numpy(), atol=1e-2)
    assert darknet_weights(network)[20:] == weights[20:]


def test_weights_come_back_as_they_were_written():
    network, other = small_yolo(0), small_yolo(1)
    load_darknet_weights(other, darknet_weights(network))
    for exact, found in zip(answers(network, image()), answers(other, image()), strict=True):
        assert torch.equal(exact, found)


@pytest.mark.parametrize(
    ("change", "message"), [(lambda w: w[:-4], "ends early"), (lambda w: w + w[-8:], "2 numbers more")]
)
def test_weights_of_another_network_are_refused(change, message: str):
    with pytest.raises(SourceUnreadable, match=message):
        load_darknet_weights(small_yolo(), change(darknet_weights(small_yolo())))


def test_specification_and_state_load_without_the_original(tmp_path):
    network = small_yolo()
    save_network(network, tmp_path / "net.pt")
    again = load_network(tmp_path / "net.pt")
    for exact, found in zip(answers(network, image()), answers(again, image()), strict=True):
        assert torch.equal(exact, found)
    assert again.specification() == network.specification()


def test_cfg_and_weights_of_a_network_that_lost_channels_fit_each_other(tmp_path):
    network = small_yolo()
    groups = torch_pruning.DependencyGraph().build_dependency(network, image())
    conv = network.unit(9).conv
    groups.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, [0, 2, 5]).prune()
    save_darknet(network, tmp_path / "pruned")
    again = DarknetModule(parse_cfg(tmp_path / "pruned.cfg")).eval()
    load_darknet_weights(again, (tmp_path / "pruned.weights").read_bytes())
    assert again.unit(9).conv.out_channels == 45
    for exact, found in zip(answers(network, image()), answers(again, image()), strict=True):
        assert torch.equal(exact, found)


def test_a_pooling_of_stride_1_keeps_the_size_and_reads_nothing_beyond_the_border():
    cfg = "[net]\nwidth=4\nheight=4\nchannels=14\n[maxpool]\nsize=2\nstride=1\n"
    cfg += "[yolo]\nmask=0,1\nanchors=1,1,2,2\nclasses=2\n"
    maps = -torch.rand(1, 14, 4, 4)
    (found,) = DarknetModule(parse_cfg_text(cfg))(maps)
    assert found.shape == maps.shape
    assert torch.equal(found[..., -1, -1], maps[..., -1, -1])
    assert torch.equal(found[..., 0, 0], maps[..., :2, :2].amax((-1, -2)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[maxpool]", "[gru]", r"layer 1 \[gru\] is not known"),
        ("filters=24", "filters=25", r"\[yolo\] reads 25 channels"),
        ("activation=leaky", "activation=mish", "layer 0: activation 'mish'"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused(old: str, new: str, message: str):
    cfg = yolov3_tiny_cfg(3, 64, ANCHORS, "1,2,3")
    assert old in cfg
    with pytest.raises(SourceUnreadable, match=message):
        DarknetModule(parse_cfg_text(cfg.replace(old, new, 1)))
