"""What the tests of a running edge share: where its logs go, and the answers it has to give."""

from pathlib import Path

import pytest

from tests.integration.edge.fused_model import FusedModel


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def fused(models: Path) -> FusedModel:
    return FusedModel(models / "yolov3-tiny-coco" / "1")


@pytest.fixture(scope="session")
def photo(sample_photos: list[Path]) -> bytes:
    """One photo, where it does not matter which."""
    return sample_photos[1].read_bytes()
