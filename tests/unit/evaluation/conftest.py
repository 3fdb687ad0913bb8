"""A small detection data set on disk."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Box = tuple[int, int, float, float, float, float]
"""Photo, category, x, y, width, height."""
MakeDataset = Callable[..., tuple[Path, Path]]

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 7, "name": "cow"}]


@pytest.fixture
def make_dataset(tmp_path: Path, sample_photos: list[Path]) -> MakeDataset:
    """Writes annotations of `photos` photos with `boxes`; returns the JSON's path and the photos' folder."""

    def make(photos: int, boxes: Sequence[Box], **changes: Any) -> tuple[Path, Path]:
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        for number in range(photos):
            shutil.copy(sample_photos[0], folder / f"{number}.jpg")
        annotations = [
            {
                "id": index + 1,
                "image_id": photo,
                "category_id": category,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
            for index, (photo, category, x, y, width, height) in enumerate(boxes)
        ]
        content = {
            "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(photos)],
            "categories": CATEGORIES,
            "annotations": annotations,
            **changes,
        }
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content))
        return path, folder

    return make
