"""Boxes drawn on a photo."""

import numpy as np
from edgedet_runtime.detection import Detections
from edgedet_runtime.drawing import draw_detections
from edgedet_runtime.photo import Photo, decode_photo
from hypothesis import given, settings
from hypothesis import strategies as st

GRAY = Photo(np.full((120, 200, 4), 128, np.uint8))


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4), np.full(count, 0.5, np.float32), np.arange(count) % 2
    )


def test_a_box_is_drawn_where_it_is_and_the_rest_stays():
    drawn = decode_photo(draw_detections(GRAY, detections((50, 40, 150, 100)), ["cat", "dog"]))
    assert (drawn.width, drawn.height) == (200, 120)
    changed = np.abs(drawn.pixels[:, :, :3].astype(int) - 128).max(axis=2) > 30
    assert changed[99, 60:140].all()
    assert changed[60:90, 50].all()
    assert not changed[60:90, 60:140].any()
    assert not changed[105:].any()


def test_a_photo_without_detections_stays_as_it_is():
    drawn = decode_photo(draw_detections(GRAY, detections(), ["cat"]))
    assert np.abs(drawn.pixels[:, :, :3].astype(int) - 128).max() <= 2


@settings(max_examples=50)
@given(st.lists(st.tuples(*[st.floats(0, 200, width=32)] * 4), max_size=4), st.integers(1, 30), st.integers(1, 30))
def test_any_box_on_any_photo_gives_a_jpeg(boxes: list[tuple[float, float, float, float]], width: int, height: int):
    photo = Photo(np.zeros((height, width, 4), np.uint8))
    assert decode_photo(draw_detections(photo, detections(*boxes), ["a", "b"])).width == width
