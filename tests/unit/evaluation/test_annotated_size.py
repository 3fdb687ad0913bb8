"""Photos that are not those that were annotated: shrunk, or on their side."""

import io
import json
from pathlib import Path

import pytest
from edgedet_evaluation.annotated_size import check_size
from edgedet_evaluation.coco import read_coco
from edgedet_evaluation.errors import DataUnreadable
from edgedet_evaluation.voc import read_voc
from PIL import Image

UPRIGHT, TURNED_RIGHT = 1, 6


def photo(width: int, height: int, orientation: int = UPRIGHT) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(40, 30), (40.0, 30.0), (0, 0), (None, None), ("40", "30"), (float("nan"), 3)])
def test_the_same_size_and_none_are_taken(size: tuple[object, object]):
    check_size(Path("a.jpg"), photo(40, 30), *size)


def test_a_turned_photo_has_the_size_that_it_is_shown_in():
    check_size(Path("a.jpg"), photo(40, 30, TURNED_RIGHT), 30, 40)
    with pytest.raises(DataUnreadable, match=r"a\.jpg is turned by its EXIF data and annotated unturned: save it"):
        check_size(Path("a.jpg"), photo(40, 30, TURNED_RIGHT), 40, 30)


@pytest.mark.parametrize("size", [(400, 300), (30, 40), (float("inf"), 30)])
def test_a_photo_of_another_size_is_named(size: tuple[float, float]):
    with pytest.raises(DataUnreadable, match=r"a\.jpg has 40 × 30 pixels, its annotation says .*: give the photos"):
        check_size(Path("a.jpg"), photo(40, 30), *size)


def test_a_file_that_is_no_photo_is_named_by_whoever_decodes_it():
    assert check_size(Path("a.jpg"), b"no photo", 40, 30) is None


def test_both_formats_ask(tmp_path: Path):
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(photo(40, 30))
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>21</ymax></bndbox>"
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 1, 10, 20]}],
    }

    def write(width: int) -> None:
        content["images"][0]["width"] = width
        (tmp_path / "instances.json").write_text(json.dumps(content))
        size = f"<size><width>{width}</width><height>30</height></size>"
        text = f"<annotation>{size}<object><name>cell</name>{box}</object></annotation>"
        (tmp_path / "Annotations" / "a.xml").write_text(text)

    write(40)
    assert len(read_voc(tmp_path, "train").photos) == 1
    assert len(read_coco(tmp_path / "instances.json", tmp_path / "JPEGImages").photos) == 1
    write(80)
    with pytest.raises(DataUnreadable, match="40 × 30 pixels, its annotation says 80 × 30"):
        read_voc(tmp_path, "train")
    with pytest.raises(DataUnreadable, match="40 × 30 pixels, its annotation says 80 × 30"):
        read_coco(tmp_path / "instances.json", tmp_path / "JPEGImages")
