"""A detection data set of a recipe: the photos to calibrate on, and what it refuses before the first stage."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused, SourceUnreadable
from edgedet_compression.recipe import DataSettings, Recipe
from edgedet_compression.recipe_stages import TrainStage
from edgedet_compression.runner import Workplace, run_recipe
from edgedet_runtime.manifest import InputSpec
from PIL import Image

pytestmark = pytest.mark.needs_torch

PHOTOS = 80
SPEC = InputSpec(name="image", height=8, width=8, channels=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Gray photos in order of brightness, each with a box."""
    (tmp_path / "train").mkdir()
    (tmp_path / "annotations").mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (8, 8), (number, number, number)).save(tmp_path / "train" / f"{number}.png")
    content = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(PHOTOS)],
        "categories": [{"id": 1, "name": "dim"}],
        "annotations": [{"image_id": number, "category_id": 1, "bbox": [1, 1, 4, 4]} for number in range(PHOTOS)],
    }
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return tmp_path


def brightness(folder: Path, seed: int) -> list[int]:
    settings = DataSettings(format="coco", folder=str(folder), seed=seed)
    return [int(np.max(photo[..., 0])) for photo in DetectionData(settings, folder).calibration(SPEC).photos]


def test_calibration_photos_are_of_the_whole_list_and_chosen_by_seed(folder: Path):
    chosen = brightness(folder, 0)
    assert len(set(chosen)) == 64
    assert max(chosen) >= 64
    assert chosen == brightness(folder, 0)
    assert chosen != brightness(folder, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"family": "resnet20"}}, r"stage last: resnet20 answers no boxes: for coco take yolov3\(-tiny\)"),
        (
            {"network": {"family": "yolov3-tiny", "anchors": [[8, 8]]}},
            "stage last: network.anchors: yolov3-tiny needs 6",
        ),
        (
            {"schedule": {"epochs": 1, "batch": 79, "lr": 0.01}},
            "stage last: batch = 79: .*/train has 78 photos to learn: give a smaller one",
        ),
    ],
)
def test_a_network_or_batch_that_does_not_fit_a_late_stage_is_told_before_the_first(
    folder: Path, tmp_path: Path, change: dict, message: str
):
    schedule = {"epochs": 1, "batch": 4, "lr": 0.01}
    first = {"name": "first", "kind": "train", "network": {"family": "yolov3-tiny"}, "schedule": schedule}
    stages = [first, first | {"name": "last"} | change]
    data = {"format": "coco", "folder": str(folder), "size": 32, "hold_out": 2}
    recipe = Recipe.model_validate({"name": "toy", "description": "Dim.", "data": data, "stages": stages})
    with pytest.raises(BuildRefused, match=message):
        run_recipe(recipe, Workplace(tmp_path, tmp_path / "runs", tmp_path / "models"))
    assert not (tmp_path / "runs").exists()


def test_photos_to_validate_on_without_a_box_are_refused_before_the_first_stage(folder: Path):
    file = folder / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"annotations": content["annotations"][:1]}))
    data = DetectionData(DataSettings(format="coco", folder=str(folder), hold_out=3), folder)
    stage = {"name": "all", "kind": "train", "network": {"family": "yolov3-tiny"}}
    stage["schedule"] = {"epochs": 1, "batch": 4, "lr": 0.01}
    with pytest.raises(BuildRefused, match=r"data\.hold_out .*: none of the 3 photos there has a box"):
        data.check(TrainStage.model_validate(stage))
    data.check(TrainStage.model_validate(stage | {"all_data": True}))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Six photos with a box each, listed as train (all but the last) and test (the last)."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / "voc" / "JPEGImages" / f"{number}.png")
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
        annotation = f"<annotation><object><name>dim</name>{box}</object></annotation>"
        (tmp_path / "voc" / "Annotations" / f"{number}.xml").write_text(annotation)
    listed(tmp_path / "voc", train=range(5), test=[5])
    return tmp_path / "voc"


def listed(folder: Path, **splits: Iterable[int]) -> None:
    for name, numbers in splits.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(map(str, numbers)))


def opened(folder: Path, **settings: object) -> DetectionData:
    return DetectionData(DataSettings.model_validate({"format": "voc", "folder": str(folder), **settings}), folder)


def test_splits_that_share_a_photo_are_refused(voc: Path):
    opened(voc).check_splits(test=True)
    listed(voc, trainval=range(5), val=[4], test=[5, 2])
    shared = r"data\.train and data\.validation share a photo, .*4\.png: photos that are learned or chosen by"
    with pytest.raises(BuildRefused, match=shared):
        opened(voc, train="trainval", validation="val").check_splits(test=False)
    opened(voc).check_splits(test=False)
    with pytest.raises(BuildRefused, match=r"data\.train and data\.test share a photo, .*2\.png:"):
        opened(voc).check_splits(test=True)
    listed(voc, test=[5])
    shutil.copy(voc / "JPEGImages" / "3.png", voc / "JPEGImages" / "5.png")
    with pytest.raises(BuildRefused, match=r"data\.train and data\.test share a photo, .*3\.png and .*5\.png:"):
        opened(voc).check_splits(test=True)


def test_a_test_photo_that_cannot_be_decoded_is_told_before_the_work(voc: Path):
    file = voc / "JPEGImages" / "5.png"
    file.write_bytes(file.read_bytes()[:-20])
    opened(voc).check_splits(test=False)
    with pytest.raises(SourceUnreadable, match=r"5\.png: .*; replace it or take it away"):
        opened(voc).check_splits(test=True)


def test_a_label_that_no_box_has_is_refused(voc: Path):
    with pytest.raises(BuildRefused, match=r"voc/train has no box of bright to learn from: put some there, or"):
        opened(voc, labels=["dim", "bright"]).check_splits(test=False)


def test_labels_are_the_categories_that_have_boxes(folder: Path):
    file = folder / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    empty = [{"id": 0, "name": "things"}, *content["categories"]]
    file.write_text(json.dumps(content | {"categories": empty}))
    assert DetectionData(DataSettings(format="coco", folder=str(folder)), folder).labels == ("dim",)


def test_a_label_whose_boxes_are_all_held_out_is_refused(folder: Path):
    file = folder / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    data = DetectionData(DataSettings(format="coco", folder=str(folder), hold_out=2), folder)
    held = next(iter(data.validation_photos.dataset.photos)).id
    content["categories"].append({"id": 2, "name": "rare"})
    content["annotations"].append({"image_id": held, "category_id": 2, "bbox": [1, 1, 4, 4]})
    file.write_text(json.dumps(content))
    with pytest.raises(BuildRefused, match="no box of rare to learn from: another seed or a smaller hold_out"):
        DetectionData(data.settings, folder).check_splits(test=False)


def test_a_photo_that_lies_twice_in_the_training_split_is_refused_where_one_of_them_is_held_out(folder: Path):
    data = DetectionData(DataSettings(format="coco", folder=str(folder), hold_out=2), folder)
    data.check_splits(test=False)
    held = next(iter(data.validation_photos.dataset.photos)).file
    learned = next(file for file in sorted((folder / "train").iterdir()) if file != held)
    shutil.copy(held, learned)
    with pytest.raises(BuildRefused, match=r"data\.train and data\.hold_out share a photo"):
        DetectionData(data.settings, folder).check_splits(test=False)


def test_a_test_split_without_a_box_of_the_labels_is_refused_before_the_work(voc: Path):
    file = voc / "Annotations" / "5.xml"
    file.write_text(file.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    opened(voc).check_splits(test=False)
    with pytest.raises(BuildRefused, match=r"data\.test: none of the 1 photos there has a box of the labels"):
        opened(voc).check_splits(test=True)


def test_a_package_shrinks_photos_as_they_are_learned(folder: Path):
    """A pattern of single pixels is gray to who takes means, and black or white to who picks."""
    pattern = np.indices((400, 400)).sum(axis=0) % 2 * 255
    for number in range(PHOTOS):
        Image.fromarray(pattern.astype(np.uint8)).convert("RGB").save(folder / "train" / f"{number}.png")
    data = DetectionData(DataSettings(format="coco", folder=str(folder), size=32, hold_out=2), folder)
    stage = {"name": "all", "kind": "train", "network": {"family": "yolov3-tiny"}}
    stage["schedule"] = {"epochs": 1, "batch": 4, "lr": 0.01}
    learned = data.task(TrainStage.model_validate(stage)).photos[0].pixels
    assert abs(learned.astype(int) - 128).max() <= 1
    assert np.array_equal(data.validation_photos.inputs[0][0], learned)
    assert np.array_equal(data.calibration(data.input_spec(None)).photos[0][0, ..., :3], learned)


def test_photos_that_were_held_out_count_where_a_stage_learns_all(folder: Path):
    settings = DataSettings(format="coco", folder=str(folder), hold_out=2)
    stage = TrainStage.model_validate(
        {"name": "all", "kind": "train", "start": "first", "schedule": {"epochs": 1, "batch": PHOTOS, "lr": 0.01}}
    )
    data = DetectionData(settings, folder)
    data.check(stage.model_copy(update={"all_data": True}))
    with pytest.raises(BuildRefused, match="78 photos to learn"):
        data.check(stage)
