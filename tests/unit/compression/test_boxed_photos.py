"""Photos with boxes in memory: shrunk with their boxes, crowds left out, broken files named."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from edgedet_compression.data.boxed_photos import load_boxed_photos
from edgedet_compression.errors import SourceUnreadable
from edgedet_evaluation.coco import CocoDataset, CocoPhoto
from edgedet_evaluation.errors import DataMismatch

CATEGORIES = ((1, "cell"), (4, "disk"))


def dataset(folder: Path, *boxes: dict, size: tuple[int, int] = (100, 200)) -> CocoDataset:
    """One photo of (height, width) with a bright patch where the first box is."""
    pixels = np.zeros((*size, 3), np.uint8)
    if boxes:
        x, y, width, height = (int(part) for part in boxes[0]["bbox"])
        pixels[y : y + height, x : x + width] = 255
    (folder / "a.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=95))
    rows = [{"id": k, "image_id": 1, "iscrowd": 0, **box} for k, box in enumerate(boxes)]
    return CocoDataset("drawn", (CocoPhoto(1, folder / "a.jpg"),), CATEGORIES, {"annotations": rows}, "")


def cell(x: float, y: float, width: float, height: float, **more) -> dict:
    return {"category_id": 1, "bbox": [x, y, width, height], **more}


def test_large_photos_shrink_and_their_boxes_with_them(tmp_path):
    (photo,) = load_boxed_photos(dataset(tmp_path, cell(40, 20, 60, 30)), ["cell"], 50)
    assert photo.pixels.shape == (25, 50, 3)
    np.testing.assert_allclose(photo.boxes, [[10, 5, 25, 12.5]])
    assert photo.pixels[6:12, 11:24].min() > 200
    assert photo.pixels[14:, :].max() < 50


def test_small_photos_keep_their_size(tmp_path):
    (photo,) = load_boxed_photos(dataset(tmp_path, cell(40, 20, 60, 30)), ["cell"], 300)
    assert photo.pixels.shape == (100, 200, 3)
    np.testing.assert_allclose(photo.boxes, [[40, 20, 100, 50]])


def test_labels_are_numbered_as_asked_and_others_left_out(tmp_path):
    data = dataset(tmp_path, cell(1, 1, 9, 9), cell(2, 2, 9, 9, category_id=4))
    assert load_boxed_photos(data, ["disk", "cell"], 200)[0].labels.tolist() == [1, 0]
    assert load_boxed_photos(data, ["disk"], 200)[0].labels.tolist() == [0]


def test_crowds_and_boxes_without_area_are_left_out(tmp_path):
    unwanted = (cell(1, 1, 9, 9, iscrowd=1), cell(1, 1, 9, 9, difficult=1))
    data = dataset(tmp_path, *unwanted, cell(1, 1, 0, 9), cell(1, 1, 9, 0))
    (photo,) = load_boxed_photos(data, ["cell"], 200)
    assert photo.boxes.shape == (0, 4)
    assert photo.labels.shape == (0,)


def test_boxes_are_cut_at_the_photos_edges_and_left_out_beyond(tmp_path):
    outside = [cell(50, 101, 10, 10), cell(50, 100, 10, 10), cell(-20, 5, 20, 10)]
    data = dataset(tmp_path, cell(190, 80, 40, 40), *outside, cell(-5, -5, 15, 25, category_id=4))
    (photo,) = load_boxed_photos(data, ["cell", "disk"], 100)
    np.testing.assert_allclose(photo.boxes, [[95, 40, 100, 50], [0, 0, 5, 10]])
    assert photo.labels.tolist() == [0, 1]


def test_a_photo_that_cannot_be_decoded_is_named(tmp_path):
    data = dataset(tmp_path, cell(1, 1, 9, 9))
    data.photos[0].file.write_bytes(b"no photo")
    with pytest.raises(SourceUnreadable, match=r"a\.jpg"):
        load_boxed_photos(data, ["cell"], 200)


def test_a_label_that_is_no_category_is_refused(tmp_path):
    data = dataclasses.replace(dataset(tmp_path, cell(1, 1, 9, 9)), name="mine")
    with pytest.raises(DataMismatch, match="rod"):
        load_boxed_photos(data, ["rod"], 200)
