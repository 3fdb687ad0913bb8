"""Packages on disk: read and verified, written, found by name."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgedet_runtime.errors import PackageRefused, UnknownModel
from edgedet_runtime.manifest import SCHEMA_VERSION, Manifest, Task

MANIFEST = "manifest.json"
SIDECAR = "nvm.json"
"""What a folder beside the packages holds that says how one of them lies on simulated arrays; it is no package."""
_VERBS: dict[Task, str] = {"detect": "detects", "classify": "classifies"}


@dataclass(frozen=True, slots=True)
class Package:
    """A verified folder ``models/<name>/<version>/``."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def reference(self) -> str:
        """``name:version``."""
        return f"{self.manifest.name}:{self.manifest.version}"

    def path(self, file: str) -> Path:
        """Where one of the manifest's files lies."""
        return self.folder / file


@dataclass(frozen=True, slots=True)
class Refusal:
    """A folder that looked like a package and why it was not taken."""

    folder: Path
    reason: str


def load_package(folder: Path) -> Package:
    """Read a package and check every file's hash.

    Raises:
        PackageRefused: with the reason; nothing of the package was run.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        hint = _what_else(folder)
        raise PackageRefused(f"{folder}: cannot read {MANIFEST}: {error.strerror}{hint}") from error
    manifest = _parse_manifest(folder, text)
    for file, expected in manifest.files.items():
        try:
            found = file_sha256(folder / file)
        except OSError as error:
            raise PackageRefused(f"{folder}: cannot read {file}: {error.strerror}") from error
        except ValueError as error:  # a NUL in the name
            raise PackageRefused(f"{folder}: cannot read {file!r}: {error}") from error
        if found != expected:
            raise PackageRefused(f"{folder}: {file} has sha256 {found[:12]}…, the manifest says {expected[:12]}…")
    return Package(folder, manifest, manifest.digest)


def write_package(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Package:
    """Write `contents` and the manifest into a new folder and load it back.

    Raises:
        PackageRefused: the folder exists (versions are immutable), or `manifest.files` does not fit `contents`.
    """
    if folder.exists():
        raise PackageRefused(f"{folder}: exists already; versions are immutable, raise `version`")
    if manifest.files != hash_files(contents):
        raise PackageRefused(f"{folder}: the manifest's files are not those to write")
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return load_package(folder)


def hash_files(contents: Mapping[str, bytes]) -> dict[str, str]:
    """A manifest's `files` entry for `contents`."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def scan_packages(models: Path) -> tuple[list[Package], list[Refusal]]:
    """Load every ``<name>/<version>/`` below `models`; a bad package does not stop the others.

    A sidecar is none, nor is what lies in a hidden folder, as one that is being built or kept from before.
    """
    packages: list[Package] = []
    refusals: list[Refusal] = []
    names = _folders_in(models, refusals)
    for folder in [version for name in names for version in _folders_in(name, refusals)]:
        try:
            is_package = (folder / MANIFEST).exists()
        except OSError as error:
            refusals.append(_closed(folder, error))
            continue
        if not is_package and (not folder.name.isdecimal() or (folder / SIDECAR).exists()):
            continue
        try:
            package = load_package(folder)
        except PackageRefused as refusal:
            refusals.append(Refusal(folder, str(refusal)))
            continue
        if (package.manifest.name, str(package.manifest.version)) != (folder.parent.name, folder.name):
            refusals.append(Refusal(folder, f"{folder}: the manifest says {package.reference}; rename the folder"))
            continue
        packages.append(package)
    return packages, refusals


def _folders_in(folder: Path, refusals: list[Refusal]) -> list[Path]:
    """Those that are not hidden, by name; a folder that this user may not look into joins `refusals`."""
    found: list[Path] = []
    for path in _entries_of(folder, refusals):
        try:
            if path.is_dir():
                found.append(path)
        except OSError as error:
            refusals.append(_closed(path, error))
    return found


def _entries_of(folder: Path, refusals: list[Refusal]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        refusals.append(_closed(folder, error))
        return []


def _closed(folder: Path, error: OSError) -> Refusal:
    return Refusal(folder, f"{folder}: {error.strerror}; let this user read it")


def find_package(packages: list[Package], task: Task, wanted: str | None) -> Package:
    """The package for ``name[:version]``; without a version the highest, without a name the task's first.

    Raises:
        UnknownModel: naming what there is.
    """
    of_task = [package for package in packages if package.manifest.task == task]
    if not of_task:
        known = ", ".join(sorted(package.reference for package in packages)) or "none"
        raise UnknownModel(f"model: no package here {_VERBS[task]}; there are: {known}")
    name, _, version = (wanted or "").partition(":")
    if not name:
        name = min(package.manifest.name for package in of_task)
    matches = [
        package
        for package in of_task
        if package.manifest.name == name and version in ("", str(package.manifest.version))
    ]
    if not matches:
        known = ", ".join(sorted(package.reference for package in of_task))
        other = next((each.manifest.task for each in packages if each.manifest.name == name), task)
        hint = f"; {name} is one for task {other!r}" if other != task else ""
        raise UnknownModel(f"model: no package {wanted!r} for task {task!r}; there are: {known}{hint}")
    return max(matches, key=lambda package: package.manifest.version)


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _what_else(folder: Path) -> str:
    """What a folder without a manifest is instead, where that can be seen."""
    if (folder / SIDECAR).exists():
        name = folder.absolute().parent.name.partition("-nvm-")[0]
        return f"; this is a sidecar: give the package that it was compiled from, {name}/{folder.absolute().name}"
    versions = sorted(str(path.parent) for path in folder.glob(f"*/{MANIFEST}"))
    return f"; a package is NAME/VERSION: give {' or '.join(versions)}" if versions else ""


def _parse_manifest(folder: Path, text: bytes) -> Manifest:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PackageRefused(f"{folder}: {MANIFEST} is not JSON: {error}") from error
    schema = content.get("schema_version") if isinstance(content, dict) else None
    if schema != SCHEMA_VERSION:
        raise PackageRefused(
            f"{folder}: {MANIFEST}: schema_version is {schema!r}; this version of edgedet reads {SCHEMA_VERSION}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"{part}." for part in first["loc"])[:-1]
        reason = first["msg"].removeprefix("Value error, ")  # which names its field itself
        raise PackageRefused(f"{folder}: {MANIFEST}: {f'{field}: ' if field else ''}{reason}") from error
