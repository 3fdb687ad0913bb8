"""A CSV of measured levels serves packages whose slices are not as wide as it is, from the command to the edge."""

import json
from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.cli import app
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.errors import PresetRefused
from edgedet_nvm.monte_carlo.grid import Grid
from edgedet_nvm.sidecar import map_package
from edgedet_runtime.backend import load_backend
from typer.testing import CliRunner, Result

from tests.unit.nvm.small_packages import labeled_photos, small_package

SPACED = [f"{level},{100 * level},0" for level in range(16)]
PRESET = """
name = "mine"
description = "measured"
cell = { measured = "levels.csv", read_v = 0.5 }
slices = { signs = "SIGNS", bits_per_cell = BITS }
tile = { rows = 72, columns = 64 }
drive = { kind = "amplitude", bits = 4 }
adc = { bits = 8 }
"""


def measured_preset(folder: Path, bits: int = 4, signs: str = "differential", levels: list[str] = SPACED) -> Path:
    (folder / "levels.csv").write_text("\n".join(["level,mean_na,sigma_na", *levels]))
    file = folder / "mine.toml"
    file.write_text(PRESET.replace("BITS", str(bits)).replace("SIGNS", signs))
    return file


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"EDGEDET_DATA": ""})


@pytest.mark.parametrize(
    ("highest", "bits", "signs", "tops"),
    [
        (64, 4, "differential", (15, 4)),
        (7, 4, "differential", (7,)),
        (64, 2, "differential", (3, 3, 3, 1)),
        (64, 1, "twos-complement", (1,) * 8),
    ],
)
def test_sixteen_measured_levels_compile_evaluate_and_serve(
    tmp_path: Path, highest: int, bits: int, signs: str, tops: tuple[int, ...]
):
    package, preset = small_package(tmp_path / "models", highest=highest), measured_preset(tmp_path, bits, signs)
    photos = labeled_photos(tmp_path / "photos", per_label=1)
    told = invoke(
        "compile", package.folder, *photos.glob("*/*.png"), "--preset", preset, "--models", tmp_path / "models"
    )
    assert told.exit_code == 0, told.output
    told = invoke("evaluate", package.folder, "--preset", preset, "--photos", photos, "--to", tmp_path / "found.json")
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "found.json").read_text())["figures"][0]["figure"] == "top-1"
    assert load_backend("nvm", preset=str(preset)).for_package(package).hardware.preset == "mine"
    for mapped in map_package(package, load_preset(str(preset)), "channels").layers:
        assert mapped.slicing.highest_levels == tops
        cells = chip_cells(mapped, Chip(load_preset(str(preset)), 0), 64)
        np.testing.assert_array_equal(cells.difference, mapped.planes)  # equally spaced, without σ: the targets


def test_the_csvs_sigma_and_spacing_reach_the_cells(tmp_path: Path):
    package = small_package(tmp_path / "models", highest=7)
    bent = [f"{level},{100 * level + (20 if level == 3 else 0)},{3 if level == 7 else 0}" for level in range(16)]
    preset = load_preset(str(measured_preset(tmp_path, levels=bent)))
    for mapped in map_package(package, preset, "channels").layers:
        cells = chip_cells(mapped, Chip(preset, 0), 64)
        assert cells.positive[mapped.planes == 3] == pytest.approx(3.2, abs=1e-3)
        highest = cells.positive[mapped.planes == 7]
        assert 0.01 < np.abs(highest - 7).max() < 4 * 0.03
    assert len(Grid(chips=1, sigma_scales=(0.0, 2.0)).conditions(preset)) == 2  # there is an error to scale


@pytest.mark.parametrize("read_v", ["true", '"0.5"', "9.0"])
def test_the_read_voltage_beside_a_csv_is_checked_as_all_else_is(tmp_path: Path, read_v: str):
    file = measured_preset(tmp_path)
    file.write_text(file.read_text().replace("read_v = 0.5", f"read_v = {read_v}"))
    with pytest.raises(PresetRefused, match=r"mine\.toml: cell\.read_v: Input should be"):
        load_preset(str(file))


@pytest.mark.parametrize(
    ("bits", "levels", "told"),
    [
        (4, SPACED[:15], "slices.bits_per_cell: 4 bits need 16 levels; cell.level_count is 15"),
        (4, [*SPACED[:6], *SPACED[7:]], "line 8: level 7 follows level 5; level 6 is missing"),
        (4, [*SPACED[:6], "6,400,0", *SPACED[7:]], "line 8: mean_na 400 does not exceed the 500 of the level below"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused_before_anything_is_read(
    tmp_path: Path, bits: int, levels: list[str], told: str
):
    package, preset = small_package(tmp_path / "models"), measured_preset(tmp_path, bits, levels=levels)
    for command in ("compile", "evaluate"):
        refused = invoke(command, package.folder, "--preset", preset)
        assert refused.exit_code == 1
        assert told in refused.output
        assert len(refused.output.strip().splitlines()) == 1
