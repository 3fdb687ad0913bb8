"""Other forms of a convolution: equal to torch's, gradients too, and taken only where they are meant to be."""

from types import ModuleType

import pytest
import torch
from edgedet_compression.training import unfolded, winograd
from edgedet_compression.training.fast_convolutions import FastConvolutions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

pytestmark = pytest.mark.needs_torch

SIDES = st.integers(1, 7)


def drawn(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return values.to(memory_format=torch.channels_last).requires_grad_()


def results(images: Tensor, weight: Tensor, outputs: Tensor) -> list[Tensor]:
    """Outputs, and the gradients of a fixed weighing of them."""
    weighing = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return [outputs.detach(), *torch.autograd.grad((outputs * weighing.to(outputs.dtype)).sum(), (images, weight))]


@pytest.mark.parametrize(("form", "step"), [(winograd, 2), (unfolded, 1)], ids=["winograd", "unfolded"])
@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), SIDES, SIDES, st.integers(0, 2**31))
def test_outputs_and_gradients_are_those_of_the_direct_form(
    form: ModuleType, step: int, n: int, ins: int, outs: int, height: int, width: int, seed: int
):
    height, width = step * height, step * width
    images, weight = drawn((n, ins, height, width), seed, torch.float64), drawn((outs, ins, 3, 3), seed, torch.float64)
    found = results(images, weight, form.convolve(images, weight))
    wanted = results(images, weight, functional.conv2d(images, weight, padding=1))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [2, 4, 8, 10])
def test_in_fp32_the_rounding_is_small_beside_the_largest(side: int):
    images, weight = drawn((4, 64, side, side), 0, torch.float32), drawn((128, 64, 3, 3), 1, torch.float32)
    found = results(images, weight, winograd.convolve(images, weight))
    exact_images, exact_weight = (one.detach().double().requires_grad_() for one in (images, weight))
    wanted = results(exact_images, exact_weight, functional.conv2d(exact_images, exact_weight, padding=1))
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) < 1e-4
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [2, 4])
def test_in_bf16_the_unfolded_form_rounds_no_more_than_the_direct_one(side: int):
    images, weight = drawn((8, 64, side, side), 0, torch.bfloat16), drawn((128, 64, 3, 3), 1, torch.bfloat16)
    exact_images, exact_weight = (one.detach().double().requires_grad_() for one in (images, weight))
    wanted = results(exact_images, exact_weight, functional.conv2d(exact_images, exact_weight, padding=1))

    def faults(outputs: Tensor) -> list[float]:
        found = zip(results(images, weight, outputs), wanted, strict=True)
        return [float((one - other).norm() / other.norm()) for one, other in found]

    direct = faults(functional.conv2d(images, weight, padding=1))
    for fault, of_direct in zip(faults(unfolded.convolve(images, weight)), direct, strict=True):
        assert fault < 2 * of_direct < 0.02


def form(network: nn.Module, images: Tensor) -> str | None:
    """The module whose convolution made the last outputs; none: torch's."""
    with FastConvolutions():
        outputs = network(images)
    node = outputs.grad_fn
    assert node is not None
    form = getattr(type(node), "_forward_cls", None)
    return None if form is None else form.__module__.rpartition(".")[2]


def test_wide_convolutions_take_it_with_their_bias():
    images = drawn((8, 64, 8, 8), 0, torch.float32)
    assert form(nn.Conv2d(64, 128, 3, padding=1, bias=False), images) == "winograd"
    network = nn.Conv2d(64, 128, 3, padding=1)
    with FastConvolutions():
        found = network(images)
    torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-4)
    assert network.bias is not None
    assert network.bias.abs().max().item() > 0.01


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv2d(64, 60, 3, padding=1),
        nn.Conv2d(64, 128, 3),
        nn.Conv2d(64, 128, 3, padding=1, stride=2),
        nn.Conv2d(64, 128, 3, padding=2, dilation=2),
        nn.Conv2d(64, 256, 3, padding=1, groups=2),
        nn.Conv2d(64, 128, 1),
        nn.Conv2d(64, 128, 3, padding=1).double(),
        nn.Conv2d(64, 128, 3, padding="same"),
    ],
    ids=["narrow", "no padding", "stride", "dilation", "groups", "1 x 1", "double", "same"],
)
def test_others_stay_as_they_are(network: nn.Conv2d):
    images = drawn((8, 64, 8, 8), 0, network.weight.dtype)
    assert form(network, images) is None
    with FastConvolutions():
        inside = network(images)
    assert torch.equal(inside, network(images))


def test_odd_maps_and_small_batches_stay_as_they_are_in_fp32():
    network = nn.Conv2d(64, 128, 3, padding=1)
    assert form(network, drawn((7, 64, 8, 8), 0, torch.float32)) is None
    assert form(network, drawn((8, 64, 7, 8), 0, torch.float32)) is None


def test_in_bf16_small_maps_take_the_unfolded_form():
    wide = nn.Conv2d(64, 128, 3, padding=1, bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert form(wide, drawn((2, 64, 4, 4), 0, torch.float32)) == "unfolded"
        assert form(wide, drawn((2, 64, 5, 4), 0, torch.float32)) is None
        assert form(wide, drawn((8, 64, 8, 8), 0, torch.float32)) is None
        assert form(nn.Conv2d(64, 60, 3, padding=1), drawn((2, 64, 4, 4), 0, torch.float32)) is None
        assert form(wide.double(), drawn((2, 64, 4, 4), 0, torch.float64)) is None


def test_the_unfolded_form_adds_the_bias_and_its_gradients_are_fp32():
    network = nn.Conv2d(64, 128, 3, padding=1)
    images = drawn((2, 64, 4, 4), 0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16), FastConvolutions():
        found = network(images)
    found.float().sum().backward()
    torch.testing.assert_close(found.float(), network(images), rtol=0.02, atol=0.02)
    assert network.bias is not None
    assert network.weight.grad is not None
    assert network.bias.abs().max().item() > 0.03
    assert found.dtype is torch.bfloat16
    assert network.weight.grad.dtype is torch.float32


def test_frozen_weights_get_no_gradient():
    network = nn.Conv2d(64, 128, 3, padding=1, bias=False).requires_grad_(requires_grad=False)
    images = drawn((8, 64, 8, 8), 0, torch.float32)
    with FastConvolutions():
        network(images).sum().backward()
    assert network.weight.grad is None
    assert images.grad is not None


def test_unfolded_images_get_a_gradient_where_weights_are_frozen_and_weights_where_images_are():
    images, weight = drawn((2, 3, 4, 4), 0, torch.float32), drawn((5, 3, 3, 3), 1, torch.float32)
    unfolded.convolve(images.detach(), weight).sum().backward()
    assert images.grad is None
    assert weight.grad is not None
    weight.grad = None
    unfolded.convolve(images, weight.detach()).sum().backward()
    assert images.grad is not None
    assert weight.grad is None


@pytest.mark.parametrize("form", [winograd, unfolded])
def test_the_same_step_gives_the_same_bits(form: ModuleType):
    images, weight = drawn((25, 64, 8, 8), 0, torch.float32), drawn((128, 64, 3, 3), 1, torch.float32)
    first = results(images, weight, form.convolve(images, weight))
    for _ in range(3):
        again = results(images, weight, form.convolve(images, weight))
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
