"""What tests of the node in this process share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def few_models(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a small classifier: a node loads them in no time."""
    folder = tmp_path_factory.mktemp("few") / "models"
    folder.mkdir()
    for name in ("yolov3-tiny-coco", "small-lenet-w4a4-mnist"):
        (folder / name).symlink_to(models / name)
    return folder
