"""A preset: a TOML file that says everything about a chip, every constant with its unit and its source."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from edgedet_nvm.device.adc import AdcBits
from edgedet_nvm.device.cell import Cell, measured_fields
from edgedet_nvm.device.costs import Costs
from edgedet_nvm.device.environment import Environment
from edgedet_nvm.device.inputs import Drive
from edgedet_nvm.device.ir_drop import Wires
from edgedet_nvm.device.programming import Programming
from edgedet_nvm.device.record import Record, first_fault
from edgedet_nvm.device.retention import ChargeLoss, MeasuredDrift, Retention
from edgedet_nvm.device.slices import Slices
from edgedet_nvm.device.spread import MeasuredSpread, ReadSpread, SaturatingSpread
from edgedet_nvm.device.transistor import Transistor
from edgedet_nvm.errors import LevelsRefused, PresetRefused

_FOLDER = Path(__file__).parent / "presets"


class Tile(Record):
    """One array."""

    rows: Annotated[int, Field(ge=1, le=4096)]
    columns: Annotated[int, Field(ge=2, le=4096)]
    """Physical columns: a differential pair takes two."""


class AdcCircuit(Record):
    """The converters; gain and offset come out of a calibration."""

    bits: AdcBits


class Preset(Record):
    """A chip. An effect whose section is left out is absent."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    description: str
    cell: Cell
    slices: Slices
    tile: Tile
    drive: Drive
    adc: AdcCircuit | None = None
    """Left out: column currents are read exactly."""
    programming: Programming = Programming()
    noise: ReadSpread | None = None
    retention: Retention | None = None
    environment: Environment | None = None
    transistor: Transistor | None = None
    """Needed by `environment` and by retention of law charge-loss."""
    wires: Wires | None = None
    costs: Costs | None = None
    """Left out: energy, time and area are not estimated."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.transistor is None and (self.environment or isinstance(self.retention, ChargeLoss)):
            raise ValueError("transistor: needed by environment and by charge loss; add the section")
        if 2**self.slices.bits_per_cell > self.cell.level_count:
            raise ValueError(
                f"slices.bits_per_cell: {self.slices.bits_per_cell} bits need {2**self.slices.bits_per_cell} levels; "
                f"cell.level_count is {self.cell.level_count}"
            )
        if isinstance(self.programming.error, MeasuredSpread) and not self.cell.is_measured:
            raise ValueError("law = measured: needs cell.measured, a CSV of measured levels")
        for where, most_na in self._most_na().items():
            if self.cell.i_max_na > most_na:
                raise ValueError(
                    f"cell.i_max_na: {self.cell.i_max_na:g} nA exceeds the {most_na:g} nA up to which the law of "
                    f"{where} was measured; lower it or take another law"
                )
        return self

    def _most_na(self) -> dict[str, float]:
        """Up to which current the measured laws hold, by their section."""
        spreads = {"programming.error": self.programming.error, "noise": self.noise}
        found = {where: spread.max_na for where, spread in spreads.items() if isinstance(spread, SaturatingSpread)}
        if isinstance(self.retention, MeasuredDrift):
            found["retention"] = self.retention.current_na[-1]
        return found

    @property
    def compiled_sha256(self) -> str:
        """Over all that a compiled package depends on: errors, noise, age, environment and costs may change after."""
        parts = self.model_dump_json(include={"cell", "slices", "tile", "drive", "adc", "wires"})
        return hashlib.sha256(parts.encode()).hexdigest()


def preset_names() -> list[str]:
    """The presets that come with EdgeDet."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load_preset(name: str) -> Preset:
    """A preset that comes with EdgeDet by its name, or a file NAME.toml by its path.

    In a file, ``[cell] measured = "levels.csv"`` (beside it) takes the place of level_count, i_max_na and off_na.

    Raises:
        PresetRefused: it is not there, not TOML, or a value does not fit; the message names the field. Or a file that
            calls itself as one that comes along: sidecars and results would be taken for that one's.
        LevelsRefused: the CSV of measured levels does not fit; the message names the line.
    """
    file = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not file.is_file():
        raise PresetRefused(
            f"preset: there is no {name!r}; there are: {', '.join(preset_names())}; or give a file NAME.toml"
        )
    try:
        fields = _with_measured_cell(tomllib.loads(file.read_text(encoding="utf-8")), file.parent)
        # As JSON, where arrays may be tuples even if true is no number.
        preset = Preset.model_validate_json(json.dumps(fields, default=str), strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PresetRefused(f"preset {name} is not TOML: {error}") from error
    except ValidationError as error:
        raise PresetRefused(f"preset {name}: {first_fault(error)}") from error
    if name.endswith(".toml") and preset.name in preset_names() and preset != load_preset(preset.name):
        raise PresetRefused(f"preset {name}: name: {preset.name!r} comes with EdgeDet; give yours another name")
    return preset


def _with_measured_cell(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same fields, with the CSV that `cell.measured` names read."""
    cell = fields.get("cell")
    if not isinstance(cell, dict) or "measured" not in cell:
        return fields
    if cell.keys() != {"measured", "read_v"}:
        raise LevelsRefused("cell: a measured cell has the fields measured and read_v; the CSV says the rest")
    return {**fields, "cell": {**measured_fields(folder / str(cell["measured"])), "read_v": cell["read_v"]}}
