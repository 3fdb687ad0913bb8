"""Finds data and weights: EDGEDET_DATA, and the cache that `edgedet-compress fetch` fills."""

import hashlib
import os
from pathlib import Path

from edgedet_compression.errors import ChecksumMismatch, SourceMissing


def data_folder(given: Path | None) -> Path:
    """The folder of data sets and weights: `given`, else EDGEDET_DATA.

    Raises:
        SourceMissing: neither is set, or the folder is not there.
    """
    named = str(given) if given else os.environ.get("EDGEDET_DATA", "")
    if not named:
        raise SourceMissing("no data folder: set EDGEDET_DATA or give --data (docs: where the data sets come from)")
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise SourceMissing(f"the data folder {folder} is not there: correct EDGEDET_DATA or --data")
    return folder


def cache_folder() -> Path:
    """Where fetched and derived files are kept: EDGEDET_CACHE, else ~/.cache/edgedet."""
    return Path(os.environ.get("EDGEDET_CACHE") or "~/.cache/edgedet").expanduser()


def find_weights(data: Path, folder: str, file: str, fetch_name: str | None = None) -> Path:
    """`file` in the data folder's weights, or in the cache under `fetch_name`.

    Raises:
        SourceMissing: in neither; the message says how to get it.
    """
    places = [data / "weights" / folder / file]
    if fetch_name:
        places.append(cache_folder() / fetch_name / file)
    for place in places:
        if place.is_file():
            return place
    advice = f"; `edgedet-compress fetch {fetch_name}` downloads it" if fetch_name else ""
    raise SourceMissing(f"{file} is neither at {' nor at '.join(map(str, places))}{advice}")


def checked(path: Path, sha256: str) -> Path:
    """The path, once its content is known to be the expected one.

    Raises:
        ChecksumMismatch: it is not.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ChecksumMismatch(f"{path} has sha256 {found[:12]}…, expected {sha256[:12]}…: fetch it again")
    return path


def folder_sha256(files: list[Path]) -> str:
    """One sha256 over names and contents of files, in the order given."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
