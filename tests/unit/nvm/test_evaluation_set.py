"""What a package is measured on: which photos are taken, and how answers are scored."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgedet_evaluation.cifar10 import LabeledImages
from edgedet_evaluation.coco import CocoDataset, CocoPhoto
from edgedet_evaluation.errors import DataMismatch
from edgedet_nvm.evaluation_set import BoxSet, LabeledSet, known_calibration, known_set, limited
from edgedet_nvm.photo_options import chosen_photos
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.package import load_package


def boxed(photos: int) -> BoxSet:
    """One box of 10 × 10 pixels at (5, 5) in each photo."""
    annotations = [
        {"id": place + 1, "image_id": place, "category_id": 7, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
        for place in range(photos)
    ]
    content = {
        "images": [{"id": place} for place in range(photos)],
        "categories": [{"id": 7, "name": "cell"}],
        "annotations": annotations,
    }
    listed = tuple(CocoPhoto(place, Path(f"{place}.png")) for place in range(photos))
    return BoxSet(CocoDataset("cells", listed, ((7, "cell"),), content, "0" * 64), [7])


def found_at(x: float) -> Detections:
    """One box of 10 × 10 pixels."""
    box = np.array([[x, 5, x + 10, 15]], np.float32)
    return Detections(box, np.array([0.9], np.float32), np.array([0]))


def classes(label: int) -> Classes:
    return Classes(np.array([label]), np.array([1.0], np.float32))


def test_boxes_that_are_off_count_for_less_and_the_difference_is_chip_minus_digital():
    chosen = boxed(8)
    right, wrong = [found_at(5)] * 8, [found_at(5)] * 4 + [found_at(60)] * 4
    assert chosen.value(right) == pytest.approx(1)
    map50, map50_95 = chosen.compare(right, wrong)
    assert (map50.figure, map50_95.figure) == ("mAP50", "mAP50-95")
    assert map50.digital.value == pytest.approx(1)
    assert map50.chip.value == pytest.approx(chosen.value(wrong))
    assert map50.difference.value == pytest.approx(map50.chip.value - 1)
    assert map50.difference.high < 0
    (same, _) = chosen.compare(wrong, wrong)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)


def test_a_limit_takes_photos_with_boxes_evenly():
    chosen = limited(boxed(8), 2)
    assert isinstance(chosen, BoxSet)
    assert [photo.id for photo in chosen.dataset.photos] == [0, 4]
    assert chosen.value([found_at(5)] * 2) == pytest.approx(1)


def test_photos_within_the_limit_that_have_no_box_are_refused_before_they_are_answered(
    tmp_path: Path, models: Path, sample_photos: list[Path]
):
    package, listed = load_package(models / "yolov3-trimmed-bccd" / "1"), range(8)
    for place in listed:
        shutil.copy(sample_photos[0], tmp_path / f"{place}.jpg")
    content = {
        "images": [{"id": place, "file_name": f"{place}.jpg"} for place in listed],
        "categories": [{"id": number, "name": name} for number, name in enumerate(package.manifest.labels, start=1)],
        "annotations": [{"image_id": 5, "category_id": 1, "bbox": [5, 5, 10, 10]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    assert len(chosen_photos(package, None, tmp_path, tmp_path / "boxes.json", None)) == 8
    with pytest.raises(DataMismatch, match="boxes has no box of the 3 labels in 2 photos"):
        chosen_photos(package, None, tmp_path, tmp_path / "boxes.json", 2)


def test_images_of_a_known_data_set_are_measured_in_the_order_given():
    images = np.zeros((4, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = (1, 2, 3, 4)
    chosen = limited(LabeledSet(LabeledImages("four", images, np.array([3, 2, 1, 0])), np.arange(4)), 2)
    assert [int(photo.pixels[0, 0, 0]) for photo in chosen.photos()] == [1, 3]
    assert limited(replace(chosen, places=np.array([3, 1])), 1).places.tolist() == [3]
    assert chosen.value([classes(3), classes(2)]) == 0.5
    (top1,) = chosen.compare([classes(3), classes(1)], [classes(3), classes(2)])
    assert (top1.digital.value, top1.chip.value, top1.difference.value) == (1, 0.5, -0.5)


def coco_folder(data: Path, photo: Path) -> Path:
    """A data folder with one photo of COCO in each split."""
    for split in ("train2017", "val2017"):
        (data / "coco-mini" / split).mkdir(parents=True)
        shutil.copy(photo, data / "coco-mini" / split / "1.jpg")
    content = boxed(1).dataset.content
    content["images"] = [{"id": 0, "file_name": "1.jpg"}]
    (data / "coco-mini" / "annotations").mkdir()
    (data / "coco-mini" / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return data


def test_a_detector_of_other_labels_than_cocos_is_not_calibrated_on_coco(
    models: Path, sample_photos: list[Path], tmp_path: Path
):
    data = coco_folder(tmp_path, sample_photos[0])
    blood_cells = load_package(models / "yolov3-trimmed-bccd" / "1")
    with pytest.raises(DataMismatch, match=r"its labels are not COCO's; give .*PHOTOS.*--calibrate DIR"):
        known_calibration(blood_cells, data)
    with pytest.raises(DataMismatch, match="its labels are not COCO's; give --photos DIR and --annotations FILE"):
        known_set(blood_cells, data)
    cells = replace(blood_cells, manifest=blood_cells.manifest.model_copy(update={"labels": ("cell",)}))
    assert len(list(known_calibration(cells, data))) == 1


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("name", "figure", "photos"), [("resnet20-cifar10", "top-1", 10_000), ("yolov3-tiny-coco", "mAP50", 120)]
)
def test_a_committed_package_finds_its_data_set(models: Path, data: Path, name: str, figure: str, photos: int):
    package = load_package(models / name / "1")
    chosen = known_set(package, data)
    assert (chosen.figure, len(chosen)) == (figure, photos)
    assert sum(1 for _ in known_calibration(package, data)) == 64
