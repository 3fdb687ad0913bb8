"""What the tests of a running edge share: where its logs go, and the answers it has to give."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.processes import Running, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, detect
from tests.integration.edge.fused_model import FusedModel


@pytest.fixture(scope="session")
def lone_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It has no cloud, and lets clients choose the boundary."""
    with stopping(start_edge(tmp_path_factory.mktemp("lone"), "--allow-forced-boundary")) as (edge,):
        yield edge
    assert not complaints(edge)


@pytest.fixture(scope="module")
def edge(lone_edge: Running) -> Iterator[Running]:
    """For tests that need no other; they must not make it complain."""
    yield lone_edge
    assert not complaints(lone_edge)


@pytest.fixture(scope="module")
def client(edge: Running, photo: bytes) -> Iterator[httpx.Client]:
    """Of an edge that has answered a photo: what it allocates once, it has."""
    with client_of(edge) as client:
        assert detect(client, photo).status_code == 200
        yield client


@pytest.fixture
def next_photo_is_answered(client: httpx.Client, photo: bytes) -> Iterator[None]:
    """Whatever came before."""
    yield
    assert detect(client, photo).status_code == 200


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
