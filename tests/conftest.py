"""What all tests share: sample photos, packages, and the rule for tests that need data, Docker or qemu."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
_MARKERS = ("needs_torch", "needs_data", "needs_docker", "needs_qemu")

# Property tests run on busy machines as well: no example has to be done within a fixed time.
settings.register_profile("edgedet", deadline=None)
settings.load_profile("edgedet")


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that a test starts to interrupt it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where torch is not installed, files of tests that need it cannot even be imported."""
    if find_spec("torch") is None and collection_path.suffix == ".py" and "needs_torch" in collection_path.read_text():
        return collection_path.name.startswith("test_") or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with a `needs_…` marker run only when the marker is asked for (`make test-data` and its kin)."""
    asked = config.getoption("-m") or ""
    if "needs_data" in asked:
        asked += " needs_torch"  # data sets are for the full environment
    left_out = [item for item in items if any(item.get_closest_marker(m) and m not in asked for m in _MARKERS)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session")
def sample_photos() -> list[Path]:
    """The committed photos, by name."""
    photos = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
    assert photos
    return photos


@pytest.fixture(scope="session")
def models() -> Path:
    """The committed packages."""
    return ROOT / "models"


@pytest.fixture(scope="session")
def data() -> Path:
    """The data sets; a test that asks for them fails where they are missing."""
    folder = Path(os.environ["EDGEDET_DATA"])
    assert folder.is_dir(), f"EDGEDET_DATA={folder} is not a folder"
    return folder
