"""Downloads of data sets from a server on this machine: checked, repeated where they were cut off, errors by name."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from edgedet_compression.data.download import (
    CIFAR10,
    DataFile,
    DataSet,
    data_set_named,
    download,
)
from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing, SourceUnreadable

pytestmark = pytest.mark.needs_torch  # pooch comes with the compression extra

CONTENT = bytes(range(256)) * 4096 * 3  # 3 MiB


class Site:
    """Serves `files` by name; keeps the names asked for. A file in `cut` ends after half of its bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                site.asked.append(name)
                content = site.files.get(name)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if name in site.cut else content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/data/"

    def data_set(self, name: str, content: bytes, unpacked: str | None = None) -> DataSet:
        self.files[name] = content
        return DataSet("toys", (DataFile(name, hashlib.sha256(content).hexdigest(), (self.url,), unpacked),))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = Site()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_file_comes_once_and_progress_is_told_by_the_mebibyte(site: Site, tmp_path: Path):
    toys = site.data_set("a.gz", CONTENT)
    told: list[str] = []

    def progress(step: str, total: int):
        told.append(f"{step} of {total}")
        return lambda: told.append("one more")

    folder = download(toys, tmp_path, progress)
    assert folder == tmp_path / "toys"
    assert (folder / "a.gz").read_bytes() == CONTENT
    assert told == ["downloading a.gz of 3", "one more", "one more", "one more"]
    download(toys, tmp_path)
    assert site.asked == ["a.gz"]


def test_a_file_with_another_checksum_is_named_and_does_not_stay(site: Site, tmp_path: Path):
    toys = site.data_set("a.gz", CONTENT)
    site.files["a.gz"] = b"something else"
    with pytest.raises(ChecksumMismatch, match=r"data/a\.gz is not the file expected"):
        download(toys, tmp_path)
    assert not list((tmp_path / "toys").iterdir())


def test_a_download_that_was_cut_off_is_named_and_starts_again(site: Site, tmp_path: Path):
    toys = site.data_set("a.gz", CONTENT)
    site.cut.add("a.gz")
    with pytest.raises(SourceMissing, match=r"cannot download http://.*/a\.gz"):
        download(toys, tmp_path)
    assert not list((tmp_path / "toys").iterdir())
    site.cut.clear()
    assert (download(toys, tmp_path) / "a.gz").read_bytes() == CONTENT


def test_a_damaged_file_is_replaced(site: Site, tmp_path: Path):
    toys = site.data_set("a.gz", CONTENT)
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "a.gz").write_bytes(CONTENT[:100])
    assert (download(toys, tmp_path) / "a.gz").read_bytes() == CONTENT


def test_the_next_site_is_asked_where_one_has_nothing(site: Site, tmp_path: Path):
    (file,) = site.data_set("a.gz", CONTENT).files
    refused = "http://127.0.0.1:9/"  # nobody listens at the port of `discard`
    both = DataSet("toys", (DataFile(file.name, file.sha256, (refused, site.url)),))
    assert (download(both, tmp_path) / "a.gz").read_bytes() == CONTENT
    del site.files["a.gz"]
    with pytest.raises(SourceMissing, match=r"127\.0\.0\.1:9/a\.gz: .*; http://.*/data/a\.gz: 404"):
        download(both, tmp_path / "other")


def test_an_archive_becomes_its_folder(site: Site, tmp_path: Path):
    content = archive_of({"batches/one": b"1", "batches/two": b"2", "elsewhere": b"3"})
    toys = site.data_set("a.tar.gz", content, unpacked="batches")
    folder = download(toys, tmp_path)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "batches",
        "batches/one",
        "batches/two",
    ]
    download(toys, tmp_path)
    assert site.asked == ["a.tar.gz"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "a.tar.gz cannot be unpacked"),
        (archive_of({"batches/one": CONTENT})[:5000], "a.tar.gz cannot be unpacked"),
        (archive_of({"elsewhere": b"3"}), "a.tar.gz holds no folder batches"),
        (archive_of({"batches/../../escaped": b"3"}), "a.tar.gz cannot be unpacked"),
    ],
    ids=["none", "cut off", "of something else", "leading out"],
)
def test_a_broken_archive_is_named_and_leaves_nothing(site: Site, tmp_path: Path, content: bytes, said: str):
    toys = site.data_set("a.tar.gz", content, unpacked="batches")
    with pytest.raises(SourceUnreadable, match=said):
        download(toys, tmp_path)
    assert not list((tmp_path / "toys").iterdir())
    assert not (tmp_path / "escaped").exists()


def test_names_lead_to_data_sets_or_to_advice():
    assert data_set_named("cifar10") is CIFAR10
    with pytest.raises(BuildRefused, match="annotations_trainval2017"):
        data_set_named("coco")
    with pytest.raises(BuildRefused, match="VOCdevkit"):
        data_set_named("voc")
    with pytest.raises(BuildRefused, match="there are: yolov3-tiny, cifar10, mnist"):
        data_set_named("imagenet")
