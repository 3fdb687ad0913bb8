"""Run folders: what each stage of a recipe wrote, and whether it is still what the recipe asks for.

`EDGEDET_RUNS/<recipe>-<hash of its data settings>/<stage>/` holds `network.pt` (stages that make a network), training's
checkpoint and log, and `result.json`, written last: with it the stage is done. Its hash covers the stage's settings and
the hashes of all that it read, so a stage is done again when anything before it changed.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import nn

from edgedet_compression.networks.families import load_network

NETWORK, RESULT, INPUTS = "network.pt", "result.json", "inputs.json"


@dataclass(frozen=True)
class StageFolder:
    """One stage's folder and the hash of its inputs."""

    path: Path
    inputs: str

    @property
    def done(self) -> bool:
        """Whether the stage ended, on the same inputs."""
        return (self.path / RESULT).is_file() and self.result()["inputs"] == self.inputs

    def begin(self) -> None:
        """Make the folder ready: what other inputs left behind is put aside, not lost."""
        marker = self.path / INPUTS
        if self.path.is_dir() and (not marker.is_file() or marker.read_text() != self.inputs):
            aside = self.path.with_name(f"{self.path.name}.before-{self.inputs[:8]}")
            number = 0
            while aside.exists():
                number += 1
                aside = self.path.with_name(f"{self.path.name}.before-{self.inputs[:8]}-{number}")
            self.path.rename(aside)
        self.path.mkdir(parents=True, exist_ok=True)
        marker.write_text(self.inputs)

    def finish(self, figures: dict[str, Any]) -> None:
        """Write the result: the stage is done."""
        part = self.path / f"{RESULT}.part"
        part.write_text(json.dumps({"inputs": self.inputs, **figures}, indent=1) + "\n", encoding="utf-8")
        part.replace(self.path / RESULT)

    def result(self) -> dict[str, Any]:
        """What the stage wrote."""
        result: dict[str, Any] = json.loads((self.path / RESULT).read_text(encoding="utf-8"))
        return result

    def network(self) -> nn.Module:
        """The stage's network, in evaluation mode."""
        return load_network(self.path / NETWORK)


def runs_folder(given: Path | None) -> Path:
    """Where runs are kept: `given`, else EDGEDET_RUNS, else ~/.cache/edgedet/runs."""
    return Path(given or os.environ.get("EDGEDET_RUNS") or "~/.cache/edgedet/runs").expanduser()


def digest(*parts: BaseModel | str) -> str:
    """A hash over settings and other hashes."""
    total = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else part.model_dump_json(exclude={"description"})
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()
