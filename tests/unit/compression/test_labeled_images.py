"""Labeled images out of folders of photos; broken ones are named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from edgedet_compression.data.labeled_images import read_image_folder
from edgedet_compression.errors import BuildRefused, SourceMissing, SourceUnreadable
from edgedet_evaluation.errors import DataMismatch, DataMissing
from PIL import Image

pytestmark = pytest.mark.needs_torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos of class "red", one of "blue", a preview in a hidden folder, and a file beside the folders."""
    red, blue = (255, 0, 0), (0, 0, 255)
    for name, color in (("red/1.png", red), ("red/2.png", red), ("blue/1.png", blue), (".thumbnails/1.png", blue)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), color).save(tmp_path / name)
    (tmp_path / "read.me").write_text("nothing")
    return tmp_path


def test_classes_are_the_folders_by_name_but_hidden_ones(folder: Path):
    found = read_image_folder(folder, 16)
    assert found.classes == ("blue", "red")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.images.shape == (3, 16, 16, 3)
    assert found.images.dtype == torch.uint8
    assert found.images[0, 3, 3].tolist() == [0, 0, 255]
    assert len(found) == 3


def test_files_that_are_no_photos_of_a_class_are_counted_but_hidden_ones(folder: Path):
    told: list[str] = []

    def progress(text: str, _: int):
        told.append(text)
        return lambda *_: None

    read_image_folder(folder, 16, progress=progress)
    (folder / "red" / "below").mkdir()
    for name in ("red/below/3.png", "red/4.webp"):
        (folder / name).write_bytes(b"")
    read_image_folder(folder, 16, ("red", "plum", "blue"), progress=progress, all_classes=False)
    (folder / "read.me").unlink()
    assert told == [
        f"reading {folder.name}: 3 photos of 2 classes; other files passed over: 1",
        f"reading {folder.name}: 3 photos of 3 classes, none of plum; other files passed over: 3",
    ]


def test_hidden_files_are_no_photos(folder: Path):
    (folder / "red" / "._1.png").write_bytes(b"what macOS keeps beside a photo")
    assert len(read_image_folder(folder, 16)) == 3


def test_classes_may_be_given_in_another_order(folder: Path):
    assert read_image_folder(folder, 16, ("red", "blue")).labels.tolist() == [1, 0, 0]
    with pytest.raises(DataMismatch, match="blue is none of the labels"):
        read_image_folder(folder, 16, ("red", "green"))


def test_a_class_without_a_photo_is_named(folder: Path):
    with pytest.raises(SourceMissing, match=r"plum has no \.jpg, \.jpeg or \.png photo: put some there, or remove"):
        read_image_folder(folder, 16, ("red", "blue", "plum"))
    (folder / "kiwi").mkdir()
    (folder / "kiwi" / "1.bmp").write_bytes(b"BM")
    with pytest.raises(SourceMissing, match=r"kiwi has no \.jpg"):
        read_image_folder(folder, 16)


def test_not_all_classes_need_a_photo_where_that_is_said(folder: Path):
    found = read_image_folder(folder, 16, ("red", "plum", "blue"), all_classes=False)
    assert found.classes == ("red", "plum", "blue")
    assert found.labels.tolist() == [2, 0, 0]


def test_a_subset_keeps_images_and_labels_together(folder: Path):
    found = read_image_folder(folder, 16)
    part = found.subset(np.array([2, 0]), "part")
    assert part.name == "part"
    assert part.labels.tolist() == [1, 0]
    assert torch.equal(part.images, found.images[[2, 0]])


def test_a_broken_photo_is_named(folder: Path):
    whole = (folder / "red" / "2.png").read_bytes()
    (folder / "red" / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceUnreadable, match=r"red/2\.png: .*; replace it or take it away"):
        read_image_folder(folder, 16)


def test_one_class_alone_is_refused(folder: Path):
    shutil.rmtree(folder / "blue")
    with pytest.raises(BuildRefused, match="the class red alone"):
        read_image_folder(folder, 16)


def test_no_folder_and_an_empty_one_are_told(tmp_path: Path):
    with pytest.raises(SourceMissing, match="nowhere is no folder"):
        read_image_folder(tmp_path / "nowhere", 16)
    with pytest.raises(DataMissing, match="no photo LABEL/NAME"):
        read_image_folder(tmp_path, 16)
