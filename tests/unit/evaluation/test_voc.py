"""The Pascal VOC reader: boxes as COCO counts them, and every kind of fault by its file."""

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from edgedet_evaluation.errors import DataMissing, DataUnreadable
from edgedet_evaluation.voc import read_voc

CELL = "<object><name>cell</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>21</ymax></bndbox></object>"
DISK = (
    "<object><name>disk</name><difficult>1</difficult>"
    "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>8</xmax><ymax>9</ymax></bndbox></object>"
)
JPEG = simplejpeg.encode_jpeg(np.zeros((32, 40, 3), np.uint8))


def voc_folder(folder: Path, annotations: dict[str, str], listed: str | None = None) -> Path:
    """A data set of photos with these objects; `listed` replaces the list "train"."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for stem, objects in annotations.items():
        (folder / "JPEGImages" / f"{stem}.jpg").write_bytes(JPEG)
        (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{objects}</annotation>")
    text = "\n".join(annotations) if listed is None else listed
    (folder / "ImageSets" / "Main" / "train.txt").write_text(text + "\n")
    return folder


def test_corners_that_count_from_1_become_a_box_of_all_their_pixels(tmp_path):
    dataset = read_voc(voc_folder(tmp_path, {"a": CELL}), "train")
    (row,) = dataset.content["annotations"]
    assert row["bbox"] == [0, 1, 10, 20]
    assert row["area"] == 200
    assert dataset.categories == ((1, "cell"),)
    assert [photo.file.name for photo in dataset.photos] == ["a.jpg"]


def test_difficult_objects_are_marked_and_no_crowds(tmp_path):
    dataset = read_voc(voc_folder(tmp_path, {"a": CELL + DISK}), "train")
    assert [(row["iscrowd"], row["difficult"]) for row in dataset.content["annotations"]] == [(0, 0), (0, 1)]


def test_labels_number_the_categories_in_their_order(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL + DISK, "b": DISK})
    assert read_voc(folder, "train").categories == ((1, "cell"), (2, "disk"))
    given = read_voc(folder, "train", ("disk", "rod", "cell"))
    assert given.categories == ((1, "disk"), (2, "rod"), (3, "cell"))
    assert [row["category_id"] for row in given.content["annotations"]] == [3, 1, 1]
    assert [row["image_id"] for row in given.content["annotations"]] == [1, 1, 2]


def test_lists_with_a_second_column_and_empty_lines_are_read(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL, "b": CELL}, "b  1\n\na -1")
    assert [photo.file.stem for photo in read_voc(folder, "train").photos] == ["b", "a"]


def test_lists_may_name_files(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL, "b.1": CELL, "c": CELL}, "b.1.jpg\na.jpg 1\nc.png")
    (folder / "JPEGImages" / "c.png").write_bytes(JPEG)
    assert [photo.file.name for photo in read_voc(folder, "train").photos] == ["b.1.jpg", "a.jpg", "c.png"]


def test_a_listed_file_that_is_no_photo_is_named_as_it_is_listed(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL}, "b.bmp")
    (folder / "JPEGImages" / "b.bmp").write_bytes(b"BM")
    with pytest.raises(DataMissing, match=r"train.txt lists b\.bmp, which is not in"):
        read_voc(folder, "train")


@pytest.mark.parametrize("stem", ["WhatsApp Image 1", "a b", "crop -1"])
def test_names_of_photos_may_have_spaces_and_end_like_a_second_column(tmp_path, stem: str):
    folder = voc_folder(tmp_path, {stem: CELL, "a": CELL}, f" {stem} \na 1")
    assert [photo.file.stem for photo in read_voc(folder, "train").photos] == [stem, "a"]


def test_a_photo_with_a_space_in_its_name_that_lacks_its_annotation_is_named_whole(tmp_path):
    folder = voc_folder(tmp_path, {"Image 1": CELL})
    (folder / "Annotations" / "Image 1.xml").unlink()
    with pytest.raises(DataMissing, match="lists Image 1, which has no annotation"):
        read_voc(folder, "train")


@pytest.mark.parametrize("listed", ["a\nb\na", "a\na 1"])
def test_a_photo_that_is_listed_twice_is_refused(tmp_path, listed: str):
    folder = voc_folder(tmp_path, {"a": CELL, "b": CELL}, listed)
    with pytest.raises(DataUnreadable, match=r"train\.txt names a twice: take one of the lines out"):
        read_voc(folder, "train")


def test_boxes_without_area_are_left_out(tmp_path):
    flat = CELL.replace("<xmax>10", "<xmax>1")
    assert len(read_voc(voc_folder(tmp_path, {"a": CELL + flat}), "train").content["annotations"]) == 1


@pytest.mark.parametrize("size", ["", "<size><width>40</width><height>32</height></size>"])
def test_boxes_are_cut_at_the_photos_edges(tmp_path, size: str):
    beyond = CELL.replace("<xmin>1<", "<xmin>-3<").replace("<ymax>21<", "<ymax>9999<")
    (found,) = read_voc(voc_folder(tmp_path, {"a": size + beyond}), "train").content["annotations"]
    assert found["bbox"] == [0, 1, 10, 31]
    assert found["area"] == 310


def test_the_hash_follows_photos_and_annotations(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL})
    before = read_voc(folder, "train").sha256
    assert read_voc(folder, "train").sha256 == before
    (folder / "Annotations" / "a.xml").write_text(f"<annotation>{CELL}{CELL}</annotation>")
    assert read_voc(folder, "train").sha256 != before


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataMissing, match=r"no list of photos at .*Main/test\.txt"):
        read_voc(voc_folder(tmp_path, {"a": CELL}), "test")


@pytest.mark.parametrize(("place", "name"), [("JPEGImages", "a.jpg"), ("Annotations", "a.xml")])
def test_a_photo_or_annotation_that_is_not_there_is_named(tmp_path, place: str, name: str):
    folder = voc_folder(tmp_path, {"a": CELL})
    (folder / place / name).unlink()
    with pytest.raises(DataMissing, match=rf"train(\.txt)? lists a, .*{place}"):
        read_voc(folder, "train")


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ("<object>", r"a\.xml is not an annotation"),
        ("<object><name>cell</name></object>", "lacks <name> or <bndbox>"),
        (CELL.replace("<name>cell</name>", ""), "lacks <name> or <bndbox>"),
        (CELL.replace(">cell<", "> <"), "lacks <name> or <bndbox>"),
        (CELL.replace("<xmin>1</xmin>", ""), r"a\.xml is not an annotation"),
        (CELL.replace("<ymax>21<", "<ymax>low<"), r"a\.xml is not an annotation.*low"),
        (CELL.replace("<ymax>21<", "<ymax>nan<"), r"a\.xml is not an annotation"),
        (CELL.replace("<ymax>21<", "<ymax>inf<"), r"a\.xml is not an annotation"),
        (CELL.replace("<xmax>10<", "<xmax>0<"), r"a\.xml .*corners swapped: x from 1 to 0, y from 2 to 21"),
        (CELL.replace("<ymax>21<", "<ymax>1<"), r"a\.xml .*corners swapped: x from 1 to 10, y from 2 to 1"),
        (
            CELL.replace("<xmin>1<", "<xmin>41<").replace("<xmax>10<", "<xmax>50<"),
            r"a\.xml: a box of 'cell' lies outside of the photo's 40 × 32 pixels",
        ),
    ],
)
def test_a_broken_annotation_is_named(tmp_path, objects: str, message: str):
    with pytest.raises(DataUnreadable, match=message):
        read_voc(voc_folder(tmp_path, {"a": objects}), "train")


def test_an_annotation_in_an_encoding_that_nobody_knows_is_named(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL})
    (folder / "Annotations" / "a.xml").write_bytes(b"<?xml version='1.0' encoding='klingon'?><annotation/>")
    with pytest.raises(DataUnreadable, match=r"a\.xml is not an annotation.*klingon"):
        read_voc(folder, "train")


def test_the_mark_that_windows_puts_before_a_list_is_no_part_of_a_name(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL})
    listed = folder / "ImageSets" / "Main" / "train.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    assert [photo.file.stem for photo in read_voc(folder, "train").photos] == ["a"]


def test_entities_are_not_expanded(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL})
    bomb = '<!DOCTYPE a [<!ENTITY x "cell">]><annotation><object><name>&x;</name></object></annotation>'
    (folder / "Annotations" / "a.xml").write_text(bomb)
    with pytest.raises(DataUnreadable, match=r"a\.xml is not an annotation"):
        read_voc(folder, "train")


def test_a_label_that_was_not_asked_for_is_named(tmp_path):
    with pytest.raises(DataUnreadable, match=r"a\.xml: label 'disk' is none of cell, rod"):
        read_voc(voc_folder(tmp_path, {"a": DISK}), "train", ("cell", "rod"))


@pytest.mark.parametrize(("annotations", "message"), [({}, "names no photo"), ({"a": ""}, "without a single box")])
def test_lists_without_photos_or_boxes_are_refused(tmp_path, annotations: dict[str, str], message: str):
    with pytest.raises(DataUnreadable, match=message):
        read_voc(voc_folder(tmp_path, annotations), "train")


def test_a_list_that_is_no_text_is_named(tmp_path):
    folder = voc_folder(tmp_path, {"a": CELL})
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataUnreadable, match=r"train\.txt is no list of photos in UTF-8"):
        read_voc(folder, "train")


@pytest.mark.needs_data
def test_bccd_is_read_whole(data: Path):
    splits = {name: read_voc(data / "bccd", name) for name in ("train", "val", "test")}
    assert {name: len(split.photos) for name, split in splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert all([label for _, label in split.categories] == ["Platelets", "RBC", "WBC"] for split in splits.values())
    assert {name: len(split.content["annotations"]) for name, split in splits.items()} == {
        "train": 2804, "val": 1137, "test": 945
    }  # fmt: skip
    assert len({photo.file for split in splits.values() for photo in split.photos}) == 364
