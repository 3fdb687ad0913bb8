"""The picture of a mapping has a frame for every array and a rectangle for every block of columns."""

from pathlib import Path

import pytest
from edgedet_nvm.cli import app
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.layer_activity import layer_tiles
from edgedet_nvm.mapping import Arrays, NetworkMapping, map_network
from edgedet_nvm.mapping_picture import mapping_svg
from edgedet_nvm.placement import report
from edgedet_nvm.sidecar import map_package
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.quantized_graph import read_quantized_graph
from typer.testing import CliRunner

from tests.unit.nvm.small_packages import digital_package, small_package
from tests.unit.quantized_networks import network


def mapping(columns: int) -> NetworkMapping:
    return map_network(read_quantized_graph(network(1)), Arrays(36, columns, Slicing.differential(15, 7)))


@pytest.mark.parametrize("columns", [16, 64])
def test_every_array_and_block_is_drawn_and_every_layer_named(columns: int):
    mapped = mapping(columns)
    figures = report(mapped)
    drawn = mapping_svg(figures, mapped.arrays).decode()
    # The page, the legend's box and a patch for each of its layers are drawn besides.
    assert drawn.count('id="patch_') == 1 + len(figures.blocks) + figures.arrays + 1 + len(figures.layers)
    assert f"<!-- {figures.arrays} arrays of 36 × {columns} cells, {figures.utilization:.1%} hold a weight -->" in drawn
    assert all(f"<!-- {layer.layer}: {layer.tiles} × " in drawn for layer in figures.layers)
    assert drawn == mapping_svg(figures, mapped.arrays).decode()


def test_the_command_draws_the_picture(tmp_path: Path):
    package, file = small_package(tmp_path / "models"), tmp_path / "arrays.svg"
    told = CliRunner().invoke(app, ["report", str(package.folder), "--picture", str(file)])
    assert told.exit_code == 0, told.output
    assert file.read_text().startswith("<?xml")


def test_the_report_says_what_estimates_take_for_an_array(tmp_path: Path):
    package = small_package(tmp_path / "models")
    told = CliRunner().invoke(app, ["report", str(package.folder)])
    preset = load_preset("nor-flash-65nm")
    tiles = sum(layer_tiles(layer, preset) for layer in map_package(package, preset, "channels").layers)
    assert f"estimated for {tiles} arrays, one for every tile" in told.output
    assert "all of a layer's are read at the same time" in told.output


def test_a_package_whose_layers_all_stay_digital_has_an_empty_report(tmp_path: Path):
    package, file = digital_package(tmp_path / "models"), tmp_path / "arrays.svg"
    figures = report(map_package(package, load_preset("ideal"), "channels"))
    assert (figures.layers, figures.blocks, figures.arrays, figures.utilization) == ((), (), 0, 0)
    told = CliRunner().invoke(app, ["report", str(package.folder), "--picture", str(file)])
    assert told.exit_code == 0, told.output
    assert "inner stays digital: only moves codes" in told.output
    assert f"small:1: every layer stays digital, none lies in arrays; {file} is not written" in told.output
    assert not file.exists()
