"""The committed package."""

from pathlib import Path

import pytest
from edgedet_runtime.package import Package, load_package


@pytest.fixture(scope="session")
def package(models: Path) -> Package:
    return load_package(models / "yolov3-tiny-coco" / "1")
