"""Geometry: boxes go to the network's input and back; the letterbox leaves bars of one gray."""

import cv2
import numpy as np
import pytest
from edgedet_runtime.letterbox import geometry_of, to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import Photo
from hypothesis import given
from hypothesis import strategies as st

sizes = st.integers(1, 5000)


def spec_of(**changes: object) -> InputSpec:
    return InputSpec(**{"name": "image", "height": 416, "width": 416, "channels": 4, **changes})


def noise(width: int, height: int) -> Photo:
    pixels = np.random.default_rng(width * 10_000 + height).integers(0, 256, (height, width, 4), np.uint8)
    pixels[:, :, 3] = 255
    return Photo(pixels)


@given(sizes, sizes, st.sampled_from(["letterbox", "plain"]), st.integers(32, 640), st.integers(32, 640))
def test_the_whole_photo_maps_to_the_whole_resized_area_and_back(
    width: int, height: int, resize: str, input_width: int, input_height: int
):
    spec = spec_of(resize=resize, width=input_width, height=input_height)
    geometry = geometry_of(width, height, spec)
    right, bottom = geometry.left + geometry.resized_width, geometry.top + geometry.resized_height
    assert 0 <= geometry.left < right <= input_width
    assert 0 <= geometry.top < bottom <= input_height
    area = np.array([[geometry.left, geometry.top, right, bottom]], np.float32)
    np.testing.assert_allclose(geometry.to_photo(area), [[0, 0, width, height]], rtol=1e-5)


@given(sizes, sizes, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_box_in_the_input_comes_back_to_its_place_in_the_photo(width: int, height: int, shares: list[float]):
    geometry = geometry_of(width, height, spec_of())
    expected = np.array(shares) * [width, height, width, height]
    scale = [geometry.resized_width / width, geometry.resized_height / height] * 2
    inside = expected * scale + [geometry.left, geometry.top] * 2
    found = geometry.to_photo(inside.astype(np.float32)[np.newaxis])[0]
    # One float32 step of an input coordinate (≤ 416), seen in photo pixels.
    np.testing.assert_allclose(found, expected, atol=6e-5 * max(1, width / 416, height / 416) + 1e-4)


@given(sizes, sizes, st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
def test_boxes_never_leave_the_photo(width: int, height: int, box: list[float]):
    found = geometry_of(width, height, spec_of()).to_photo(np.array([box], np.float32))
    assert (found >= 0).all()
    assert (found <= [width, height, width, height]).all()


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (416, 416), (100, 37), (2000, 3), (1, 1)])
@pytest.mark.parametrize("resize_filter", ["linear", "area"])
def test_the_letterbox_holds_the_resized_photo_between_gray_bars(size: tuple[int, int], resize_filter: str):
    photo, spec = noise(*size), spec_of(filter=resize_filter)
    tensor, geometry = to_input(photo, spec)
    assert tensor.shape == (1, 416, 416, 4)
    inside = np.zeros((416, 416), bool)
    inside[geometry.top :, geometry.left :][: geometry.resized_height, : geometry.resized_width] = True
    # Photos are enlarged by the linear filter in any case: OpenCV's area filter would repeat pixels.
    flag = cv2.INTER_AREA if resize_filter == "area" and max(size) > 416 else cv2.INTER_LINEAR
    resized = cv2.resize(photo.pixels, (geometry.resized_width, geometry.resized_height), interpolation=flag)
    assert np.array_equal(tensor[0][inside], resized.reshape(-1, 4))
    assert (tensor[0][~inside] == [114, 114, 114, 255]).all()


def test_a_plain_resize_fills_the_input():
    photo, spec = noise(640, 480), spec_of(resize="plain", height=32, width=48)
    tensor, _ = to_input(photo, spec)
    assert np.array_equal(tensor[0], cv2.resize(photo.pixels, (48, 32), interpolation=cv2.INTER_LINEAR))


def test_three_channels_are_the_first_three_of_four_and_one_is_luma():
    photo = noise(320, 200)
    four, _ = to_input(photo, spec_of())
    three, _ = to_input(photo, spec_of(channels=3))
    one, _ = to_input(photo, spec_of(channels=1))
    assert np.array_equal(three, four[..., :3])
    assert one.shape == (1, 416, 416, 1)
    luma = four[0, :, :, :3] @ [0.299, 0.587, 0.114]
    assert np.abs(one[0, :, :, 0] - luma).max() <= 1
