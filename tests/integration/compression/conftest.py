"""The compress command in this process, networks of a user as files, and a folder of photos."""

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from click.testing import Result
from edgedet_compression.commands import app
from typer.testing import CliRunner

from tests.unit.compression.small_networks import classifier, detector

Compress = Callable[..., Result]


@pytest.fixture
def compress(monkeypatch: pytest.MonkeyPatch) -> Compress:
    """Runs `edgedet-compress ARGUMENTS…`; the result has exit code, output and standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def own_classifier(tmp_path: Path) -> Path:
    """A float classifier of five classes and its labels.txt beside it."""
    onnx.save(classifier(0), tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    return tmp_path / "net.onnx"


@pytest.fixture
def own_detector(tmp_path: Path) -> Path:
    """A float detector with two head maps of two anchors and three classes, and its labels.txt."""
    onnx.save(detector(0), tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\n")
    return tmp_path / "net.onnx"


@pytest.fixture
def photos(sample_photos: list[Path]) -> Path:
    """A folder of photos to calibrate on."""
    return sample_photos[0].parent


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For torch: networks as small as those of tests gain nothing by a second one."""
    import torch  # noqa: PLC0415 - only tests that need torch ask for this

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
