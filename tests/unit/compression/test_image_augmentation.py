"""Augmentation of images: what moves where, exactly, and that a seed says it all."""

import numpy as np
import pytest
import torch
from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.image_augmentation import cut_out, flipped, gather, mix_up, recolor
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

pytestmark = pytest.mark.needs_torch

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (6, 9, 7, 3), np.uint8))
STILL = torch.zeros(6, dtype=torch.bool)
ALL = torch.arange(6)
UNCHANGED = ImageAugmentation(flip="none", translate=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_unchanged_images_come_as_they_are_in_the_order_chosen():
    chosen = torch.tensor([4, 0, 4])
    found = gather(IMAGES, chosen, STILL[:3], UNCHANGED, rng())
    assert torch.equal(found, IMAGES[chosen].permute(0, 3, 1, 2))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "mixup"])
def test_changes_below_0_or_above_1_are_refused_by_name(name: str):
    settings = TypeAdapter(ImageAugmentation)
    assert settings.validate_python({name: 1}) == ImageAugmentation(**{name: 1})
    for wrong in (-0.1, 20, float("nan")):
        with pytest.raises(ValidationError, match=rf"{name}\n.*Input should be"):
            settings.validate_python({name: wrong})


def test_flips_mirror_left_and_right():
    flips = torch.tensor([True, False] * 3)
    found = gather(IMAGES, ALL, flips, UNCHANGED, rng()).permute(0, 2, 3, 1)
    assert torch.equal(found[::2], IMAGES[::2].flip(2))
    assert torch.equal(found[1::2], IMAGES[1::2])


@given(st.integers(0, 2**32), st.integers(0, 5), st.sampled_from(["reflect", "zero"]))
def test_moved_images_are_windows_of_the_padded_image(seed: int, reach: int, pad: str):
    how = ImageAugmentation(flip="none", translate=reach, pad=pad)
    found = gather(IMAGES, ALL, STILL, how, rng(seed)).permute(0, 2, 3, 1).numpy()
    shifts = rng(seed).integers(-reach, reach, (2, 6), endpoint=True)
    margins = ((reach, reach), (reach, reach), (0, 0))
    for place, (down, right) in enumerate(shifts.T):
        padded = np.pad(IMAGES[place].numpy(), margins, mode="reflect" if pad == "reflect" else "constant")
        assert (found[place] == padded[reach + down :, reach + right :][:9, :7]).all()


@given(st.integers(0, 2**32), st.integers(0, 50))
def test_alternating_flips_show_both_sides_of_every_image_in_two_epochs(seed: int, epoch: int):
    how = ImageAugmentation(flip="alternating")
    first, second = (flipped(how, 100, number, [seed, 1]) for number in (epoch, epoch + 1))
    assert (first ^ second).all()
    assert 0 < int(first.sum()) < 100


def test_random_flips_are_those_of_their_epoch_and_none_are_none():
    how = ImageAugmentation(flip="random")
    assert torch.equal(flipped(how, 100, 3, [0]), flipped(how, 100, 3, [0]))
    assert not torch.equal(flipped(how, 100, 3, [0]), flipped(how, 100, 4, [0]))
    assert not flipped(UNCHANGED, 100, 3, [0]).any()


def test_cutout_blanks_one_square_of_its_side_or_what_of_it_lies_inside():
    images = torch.ones(200, 3, 9, 7)
    cut_out(images, ImageAugmentation(cutout=3), rng())
    areas = (images == 0).sum((2, 3))
    assert (areas == areas[:, :1]).all()  # all channels alike
    assert set(areas[:, 0].tolist()) == {4, 6, 9}
    for image in images[:, 0]:
        rows, columns = (image == 0).any(1).sum(), (image == 0).any(0).sum()
        assert int(rows * columns) == int((image == 0).sum())


@given(st.integers(0, 2**32))
def test_colors_stay_in_range_and_gray_stays_gray(seed: int):
    how = ImageAugmentation(brightness=0.5, contrast=0.5, saturation=0.5)
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(seed % 2**31))
    gray = images[:, :1].expand(4, 3, 5, 5)
    assert recolor(images, how, rng(seed)).min() >= 0
    assert recolor(images, how, rng(seed)).max() <= 1
    found = recolor(gray, how, rng(seed))
    torch.testing.assert_close(found[:, 0], found[:, 1])
    assert recolor(images[:, :1], how, rng(seed)).shape == (4, 1, 5, 5)


def test_saturation_keeps_luma_and_brightness_scales():
    images = torch.rand(4, 3, 5, 5) * 0.4 + 0.3
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    found = recolor(images, ImageAugmentation(saturation=0.3), rng())
    torch.testing.assert_close((found * luma).sum(1), (images * luma).sum(1))
    assert not torch.allclose(found, images)
    ratio = recolor(images, ImageAugmentation(brightness=0.3), rng()) / images
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))


def test_without_colors_and_cutout_images_are_not_touched():
    images = torch.rand(2, 3, 4, 4)
    assert recolor(images, UNCHANGED, rng()) is images
    assert cut_out(images, UNCHANGED, rng()) is images


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_labels_are_mixed_as_their_images_are(seed: int, share: float):
    places = torch.arange(200)
    images = torch.eye(200).view(200, 200, 1, 1).contiguous(memory_format=torch.channels_last)
    found, likely = mix_up(images, torch.eye(200), ImageAugmentation(mixup=share), rng(seed))
    assert torch.equal(found[:, :, 0, 0], likely)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(likely[places, places] + likely[places, (places + 1) % 200], torch.ones(200))
    mixed = (likely > 0).sum(1) == 2
    assert abs(float(mixed.float().mean()) - share) < 0.2
    assert share == 0 or float(likely[mixed].max(1).values.std()) > 0.1
