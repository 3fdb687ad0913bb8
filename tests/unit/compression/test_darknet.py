"""Darknet's formats: layers, numbers in file order, and errors that name the layer."""

import numpy as np
import onnxruntime as ort
import pytest
from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.darknet import build_darknet
from edgedet_compression.networks.darknet_cfg import parse_cfg_text

CFG = """
[net]
width=32   # pixels
height=32
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=1
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask = 1,2
anchors = 1,2, 3,4, 5,6
classes=2
"""
HEADER = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
FIRST, LAST = 4 * 4 + 4 * 3 * 9, 14 + 14 * 4


def weights_file(numbers: int = FIRST + LAST) -> bytes:
    values = np.random.default_rng(0).uniform(0.1, 1, numbers).astype("<f4")
    return HEADER + values.tobytes()


def test_a_network_is_read_with_its_heads():
    network = build_darknet(parse_cfg_text(CFG), weights_file())
    (head,) = network.heads
    assert (head.stride, head.anchors, head.classes) == (2, ((3.0, 4.0), (5.0, 6.0)), 2)


def test_a_mask_can_be_corrected_by_stride():
    network = build_darknet(parse_cfg_text(CFG), weights_file(), {2: (0, 1)})
    assert network.heads[0].anchors == ((1.0, 2.0), (3.0, 4.0))


def test_convolution_and_batch_norm_are_computed_as_darknet_does():
    numbers = np.frombuffer(weights_file(), "<f4", offset=20).astype(np.float64)
    shift, scale, mean, variance = numbers[:16].reshape(4, 4)
    kernel = numbers[16:FIRST].reshape(4, 3, 3, 3)
    bias, last = numbers[FIRST : FIRST + 14], numbers[FIRST + 14 :].reshape(14, 4)
    image = np.random.default_rng(1).uniform(size=(1, 3, 32, 32)).astype(np.float32)
    padded = np.pad(image[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    raw = np.einsum("chwij,ocij->ohw", windows, kernel)
    normed = (raw - mean[:, None, None]) / (np.sqrt(variance)[:, None, None] + 1e-6)
    normed = normed * scale[:, None, None] + shift[:, None, None]
    leaky = np.where(normed > 0, normed, 0.1 * normed)
    pooled = leaky.reshape(4, 16, 2, 16, 2).max(axis=(2, 4))
    wanted = np.einsum("chw,oc->ohw", pooled, last) + bias[:, None, None]
    model = build_darknet(parse_cfg_text(CFG), weights_file()).model
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": image})[0][0], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[maxpool]", "[gru]", r"layer 1 \[gru\] is not known"),
        ("filters=14", "filters=15", "layer 3 .* reads 15 channels"),
        ("activation=linear", "activation=mish", "activation 'mish'"),
        ("classes=2", "", "lacks 'classes'"),
        ("size=2", "size", "neither .section. nor key=value"),
        ("[net]", "[web]", r"first section must be \[net\]"),
    ],
)
def test_a_description_that_cannot_be_read_is_refused(old: str, new: str, message: str):
    with pytest.raises(SourceUnreadable, match=message):
        build_darknet(parse_cfg_text(CFG.replace(old, new, 1)), weights_file(FIRST + 15 + 15 * 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (weights_file(FIRST + LAST - 1), "ends early"),
        (weights_file(FIRST + LAST + 3), "has 3 numbers more"),
        (HEADER[:10], "shorter than its header"),
        (weights_file() + b"\0", "whole float32 numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(content: bytes, message: str):
    with pytest.raises(SourceUnreadable, match=message):
        build_darknet(parse_cfg_text(CFG), content)
