"""Boxes follow their photo through augmentation: a bright rectangle is where its box says."""

import dataclasses

import numpy as np
import pytest
from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import BoxedPhoto
from edgedet_compression.data.detection_augmentation import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

SIZE = 128
NO_COLOR = DetectionAugmentation(hue=0, saturation=0, brightness=0)
BRIGHT = 200


def drawn(rng: np.random.Generator, label: int = 0) -> BoxedPhoto:
    """A dark photo with one white rectangle, away from the border."""
    height, width = (int(side) for side in rng.integers(80, 160, 2))
    box_width, box_height = rng.integers(16, 40, 2)
    x, y = int(rng.integers(8, width - box_width - 8)), int(rng.integers(8, height - box_height - 8))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + box_height, x : x + box_width] = 255
    box = np.array([[x, y, x + box_width, y + box_height]], np.float32)
    return BoxedPhoto(pixels, box, np.array([label]))


def found(pixels: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """The box around bright pixels of a window (x1, y1, x2, y2)."""
    left, top, right, bottom = window
    rows, columns = np.nonzero(pixels[top:bottom, left:right, 0] > BRIGHT // 2 + 28)
    return np.array([columns.min() + left, rows.min() + top, columns.max() + 1 + left, rows.max() + 1 + top])


def around(box: np.ndarray, margin: int = 4) -> tuple[int, int, int, int]:
    low, high = np.floor(box[:2]) - margin, np.ceil(box[2:]) + margin
    x1, y1 = (int(max(0, part)) for part in low)
    x2, y2 = (int(min(SIZE, part)) for part in high)
    return x1, y1, x2, y2


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_a_bright_rectangle_is_found_where_its_box_says(seed: int, flip: bool, flip_vertical: bool):
    rng = np.random.default_rng(seed)
    how = dataclasses.replace(NO_COLOR, mosaic=0, flip=flip, flip_vertical=flip_vertical)
    made = sample([drawn(rng)], 0, SIZE, how, rng)
    assert made.pixels.shape == (SIZE, SIZE, 3)
    for box in made.boxes:
        np.testing.assert_allclose(found(made.pixels, (0, 0, SIZE, SIZE)), box, atol=1.5)


@settings(max_examples=100)
@given(st.integers(0, 10**6))
def test_every_box_of_a_mosaic_surrounds_a_bright_rectangle(seed: int):
    rng = np.random.default_rng(seed)
    photos = [drawn(rng, label) for label in range(5)]
    made = sample(photos, 2, SIZE, dataclasses.replace(NO_COLOR, mosaic=1, scale=0.2), rng)
    for box in made.boxes:
        x1, y1, x2, y2 = (round(float(part)) for part in box)
        inside = made.pixels[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
        assert inside.size == 0 or inside.min() > BRIGHT
    assert set(made.labels) <= set(range(5))
    assert len(made.boxes) == len(made.labels) <= 4


def as_it_is(photo: BoxedPhoto) -> BoxedPhoto:
    still = dataclasses.replace(NO_COLOR, mosaic=0, scale=0, translation=0, flip=False)
    return sample([photo], 0, SIZE, still, np.random.default_rng(0))


def test_a_photo_as_it_is_fills_its_input_and_its_box_with_it():
    photo = drawn(np.random.default_rng(3))
    made = as_it_is(photo)
    scale = SIZE / max(photo.pixels.shape[:2])
    sides = made.boxes[0, 2:] - made.boxes[0, :2]
    np.testing.assert_allclose(sides, (photo.boxes[0, 2:] - photo.boxes[0, :2]) * scale, rtol=1e-5)
    np.testing.assert_allclose(found(made.pixels, around(made.boxes[0])), made.boxes[0], atol=1.5)


def test_both_flips_together_turn_a_photo_around():
    photo = drawn(np.random.default_rng(1))
    still = dataclasses.replace(NO_COLOR, mosaic=0, scale=0, translation=0, flip=False)
    turning = dataclasses.replace(still, flip=True, flip_vertical=True)
    straight = sample([photo], 0, SIZE, still, np.random.default_rng(0))
    turned = next(
        made
        for seed in range(50)
        if (made := sample([photo], 0, SIZE, turning, np.random.default_rng(seed))).boxes[0, 0]
        == pytest.approx(SIZE - straight.boxes[0, 2], abs=1e-3)
        and made.boxes[0, 1] == pytest.approx(SIZE - straight.boxes[0, 3], abs=1e-3)
    )
    difference = turned.pixels[::-1, ::-1].astype(int) - straight.pixels
    assert np.abs(difference).max() <= 2


def test_a_box_that_leaves_the_input_is_cut_and_then_left_out():
    photo = drawn(np.random.default_rng(0))
    far = dataclasses.replace(NO_COLOR, mosaic=0, scale=0, translation=1.5, flip=False)
    counts = set()
    for seed in range(60):
        made = sample([photo], 0, SIZE, far, np.random.default_rng(seed))
        counts.add(len(made.boxes))
        assert (made.boxes >= 0).all()
        assert (made.boxes <= SIZE).all()
    assert counts == {0, 1}


@pytest.mark.parametrize("name", ["mosaic", "scale", "translation", "hue", "saturation", "brightness"])
def test_shares_below_0_or_above_1_are_refused_by_name(name: str):
    settings = TypeAdapter(DetectionAugmentation)
    assert settings.validate_python({name: 1}) == DetectionAugmentation(**{name: 1})
    for wrong in (-0.1, 20, float("nan")):
        with pytest.raises(ValidationError, match=rf"{name}\n.*Input should be"):
            settings.validate_python({name: wrong})


def test_fewer_than_no_plain_epochs_are_refused():
    with pytest.raises(ValidationError, match="plain_epochs"):
        TypeAdapter(DetectionAugmentation).validate_python({"plain_epochs": -1})


def test_a_photo_without_boxes_stays_without():
    empty = BoxedPhoto(np.zeros((40, 60, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    made = sample([empty], 0, SIZE, dataclasses.replace(NO_COLOR, mosaic=1), np.random.default_rng(0))
    assert made.boxes.shape == (0, 4)
    assert made.labels.shape == (0,)


def test_a_seed_gives_the_same_sample_again():
    photos = [drawn(np.random.default_rng(seed)) for seed in range(3)]
    one, other = (sample(photos, 0, SIZE, DetectionAugmentation(), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_colors_change_and_boxes_do_not():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    photo = BoxedPhoto(pixels, np.array([[8, 8, 40, 60]], np.float32), np.zeros(1, np.int64))
    still = DetectionAugmentation(mosaic=0, scale=0, translation=0, flip=False)
    made = sample([photo], 0, SIZE, still, np.random.default_rng(0))
    assert (made.pixels != pixels).mean() > 0.5
    np.testing.assert_allclose(made.boxes, photo.boxes, atol=1e-4)


def test_without_color_pixels_stay_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    photo = BoxedPhoto(pixels, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    np.testing.assert_array_equal(as_it_is(photo).pixels, pixels)
