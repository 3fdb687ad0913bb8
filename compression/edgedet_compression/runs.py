"""Run folders: what each stage of a recipe wrote, and whether it is still what the recipe asks for.

`EDGEDET_RUNS/<recipe>/<stage>-<hash>/` holds `network.pt` (stages that make a network), training's checkpoint and log,
and `result.json`, written last: with it the stage is done. The hash covers the settings of data and stage (what is left
at its default does not count, so that a new option changes no old hash), the photos and boxes, and the hashes of all
that the stage read: a change before it leads to another folder, and the old one stays.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.package import load_package
from pydantic import BaseModel
from torch import nn

from edgedet_compression.errors import BuildRefused, SourceUnreadable
from edgedet_compression.networks.families import load_network

NETWORK, RESULT, LOCK = "network.pt", "result.json", ".lock"


@dataclass(frozen=True)
class StageFolder:
    """One stage's folder and the hash of its inputs."""

    path: Path
    inputs: str
    packages: Mapping[str, "StageFolder"] = field(default_factory=dict)
    """Of an evaluation: the export stages whose packages it measures, by the names that it gives them."""

    @property
    def done(self) -> bool:
        """Whether the stage ended, and its files are still there; a package that took the place of its own is not.

        An evaluation has measured what its export stages wrote last: the same inputs may make other bytes, on another
        machine or with another version of torch.
        """
        try:
            result = self.result()
            exported = {name: folder.result()["digest"] for name, folder in self.packages.items()}
        except (OSError, SourceUnreadable):  # not written yet, or empty after a power failure
            return False
        if result["inputs"] != self.inputs or not all(Path(self.path, file).exists() for file in result["files"]):
            return False
        if any(result["packages"][name]["digest"] != digest for name, digest in exported.items()):
            return False
        return "package" not in result or _digest_of(Path(result["package"])) == result["digest"]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Makes the folder, and keeps other processes from doing the same stage meanwhile: they would mix checkpoints.

        Raises:
            BuildRefused: another one is doing it, or there is no writing there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildRefused(
                f"{self.path}: no run can be kept there ({error.strerror}); give a folder of yours by --runs or "
                "EDGEDET_RUNS"
            ) from error
        with (self.path / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BuildRefused(f"another process works in {self.path}: wait until it ends, or stop it") from error
            yield

    def finish(self, figures: dict[str, Any]) -> None:
        """Write the result: the stage is done; `figures` may name `files` beside the network."""
        files = [*figures.pop("files", []), *([NETWORK] if (self.path / NETWORK).is_file() else [])]
        part = self.path / f"{RESULT}.part"
        content = {"inputs": self.inputs, "files": files, **figures}
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        part.replace(self.path / RESULT)

    def result(self) -> dict[str, Any]:
        """What the stage wrote.

        Raises:
            SourceUnreadable: it is no JSON.
        """
        file = self.path / RESULT
        try:
            result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SourceUnreadable(f"{file}: {error}: remove it, and run again") from error
        return result

    def network(self) -> nn.Module:
        """The stage's network, in evaluation mode."""
        return load_network(self.path / NETWORK)


def results_of(runs: Path, recipe: str, stage: str) -> Iterator[dict[str, Any]]:
    """What a recipe's stage wrote, on the inputs of now and on those that it had before."""
    for file in sorted((runs / recipe).glob(f"*/{RESULT}")):
        with suppress(SourceUnreadable):
            result = StageFolder(file.parent, "").result()
            if result.get("stage") == stage:
                yield result


def _digest_of(package: Path) -> str | None:
    try:
        return load_package(package).digest
    except PackageRefused:
        return None


def runs_folder(given: Path | None) -> Path:
    """Where runs are kept: `given`, else EDGEDET_RUNS, else ~/.cache/edgedet/runs."""
    return Path(given or os.environ.get("EDGEDET_RUNS") or "~/.cache/edgedet/runs").expanduser()


def digest(*parts: BaseModel | str) -> str:
    """A hash over settings and other hashes."""
    total = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else part.model_dump_json(exclude_defaults=True)
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()
