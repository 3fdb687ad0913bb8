"""A detection data set of a recipe: the photos to calibrate on."""

import json
from pathlib import Path

import numpy as np
import pytest
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.recipe import DataSettings
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
