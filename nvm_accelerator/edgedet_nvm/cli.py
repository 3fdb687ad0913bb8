"""``edgedet-nvm``: look at presets, map packages onto arrays, check them, compile them, measure them."""

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from edgedet_evaluation.answering import read_photos
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.package import load_package
from edgedet_runtime.segments import load_network
from numpy.typing import NDArray
from rich.table import Column, Table

from edgedet_nvm.calibration import Method
from edgedet_nvm.check import check_network
from edgedet_nvm.device.preset import load_preset, preset_names
from edgedet_nvm.device.published import comparison
from edgedet_nvm.evaluate_command import evaluate
from edgedet_nvm.evaluation_set import folder_photos
from edgedet_nvm.layer_activity import layer_tiles
from edgedet_nvm.mapping import Cut
from edgedet_nvm.mapping_picture import mapping_svg
from edgedet_nvm.photo_options import Data, Folder, PresetName, calibration_inputs
from edgedet_nvm.placement import MappingReport
from edgedet_nvm.placement import report as mapping_report
from edgedet_nvm.sidecar import compile_package, map_package, refuse_existing, sidecar_folder, write_sidecar
from edgedet_nvm.sweep_command import sweep
from edgedet_nvm.terminal import err, faults_told, out, refuse_unwritable, write

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Quantized networks on simulated flash arrays.",
    rich_markup_mode="markdown",
)
app.command()(evaluate)
app.command()(sweep)

Photos = Annotated[
    list[Path] | None, typer.Argument(help="Photos to run, or folders, up to 64 of each; default: noise.")
]
CutOption = Annotated[str, typer.Option("--cut", help="How tiles are cut: channels or kernel.")]


@app.command()
def presets(
    compare: Annotated[
        bool, typer.Option("--compare", help="Our TOPS/W beside those of published chips, and why they differ.")
    ] = False,
) -> None:
    """List the presets.

    Examples:

    - edgedet-nvm presets

    - edgedet-nvm presets --compare
    """
    if compare:
        _compare()
        return
    table = Table("preset", "rows × columns", "ADC bits", "what it is")
    for name in preset_names():
        preset = load_preset(name)
        bits = "none" if preset.adc is None else str(preset.adc.bits)
        table.add_row(name, f"{preset.tile.rows} × {preset.tile.columns}", bits, preset.description)
    out.print(table)


@app.command()
def check(folder: Folder, photos: Photos = None, preset: PresetName = "ideal", cut: CutOption = "channels") -> None:
    """Is the package the same network on ideal arrays? Compares every layer's codes, cell by cell and compiled.

    The preset says how weights and inputs are cut; its errors and its ADC are left out.

    Example: edgedet-nvm check models/resnet20-cifar10/1 photo.jpg
    """
    with faults_told():
        package = load_package(folder)
        mapping = map_package(package, load_preset(preset), _cut(cut))
        source = package.manifest.input
        inputs = [{source.name: codes} for codes in _inputs(source, photos or [])]
        rows = check_network(load_network(package.path("model.onnx")), mapping, inputs)
    table = Table("layer", "on arrays", "codes", "oracle differs", "compiled differs")
    for row in rows:
        where = "yes" if row.mapped else "–"
        table.add_row(row.layer, where, f"{row.codes:,}", f"{row.oracle_differs:,}", f"{row.compiled_differs:,}")
    out.print(table)
    for layer in mapping.digital:
        out.print(f"{layer.name} stays digital: {layer.reason}", markup=False)
    if not all(row.is_equal for row in rows):
        err.print(f"{package.reference}: codes differ on ideal arrays", style="red")
        raise typer.Exit(1)
    out.print(f"{package.reference}: all {sum(row.codes for row in rows):,} codes equal")


@app.command("compile")
def compile_(
    folder: Folder,
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Calibration photos, or folders, up to 64 of each; default: training photos.", show_default=False
        ),
    ] = None,
    preset: PresetName = "nor-flash-65nm",
    data: Data = None,
    chip: Annotated[int, typer.Option(help="Seed of the chip.", min=0)] = 0,
    method: Annotated[str, typer.Option(help="ADC range: min-max, p99.9, mean-4-sigma or mse.")] = "mse",
    cut: CutOption = "channels",
    exact_wires: Annotated[
        bool, typer.Option("--exact-wires", help="NOR wires follow each photo's codes: several times as slow.")
    ] = False,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of packages to write into; default: the one that holds PACKAGE.", show_default=False),
    ] = None,
) -> None:
    """Map a package onto a preset's arrays, calibrate its ADC and write the sidecar package.

    Training photos are those of CIFAR-10, MNIST or COCO in EDGEDET_DATA, whichever the package was trained for.

    Examples:

    - edgedet-nvm compile models/resnet20-cifar10/1 photos/*.png --preset nor-flash-65nm

    - edgedet-nvm compile models/small-lenet-w4a4-mnist/1 --data data --preset nor-flash-65nm
    """
    with faults_told():
        package, made = load_package(folder), load_preset(preset)
        target = sidecar_folder(package, made.name, models)
        refuse_existing(target)
        refuse_unwritable(target)
        inputs = _inputs(package.manifest.input, photos) if photos else calibration_inputs(package, made, data, None)
        sidecar = compile_package(
            package, made, preset, chip, _cut(cut), _method(method), inputs, exact_wires=exact_wires
        )
        write_sidecar(target.parent.parent, sidecar)
    if sidecar.ranges is not None:
        table = Table("layer", "ADC step, levels", "clipped at calibration")
        for layer, share in sidecar.ranges.saturation().items():
            table.add_row(layer, f"{sidecar.ranges.of(layer).step:.4g}", f"{share:.3%}")
        out.print(table)
    out.print(f"{target}")


@app.command()
def report(
    folder: Folder,
    preset: PresetName = "nor-flash-65nm",
    cut: CutOption = "channels",
    picture: Annotated[Path | None, typer.Option(help="Draw the arrays into this SVG.", show_default=False)] = None,
) -> None:
    """Which layer sits where: tiles, arrays, utilization, cells per weight, conversions.

    Example: edgedet-nvm report models/yolov3-tiny-coco/1 --preset nor-flash-40nm --picture arrays.svg
    """
    with faults_told():
        package, made = load_package(folder), load_preset(preset)
        if picture is not None:
            refuse_unwritable(picture)
        mapping = map_package(package, made, _cut(cut))
        figures = mapping_report(mapping)
        if picture is not None and figures.layers:
            write(picture, mapping_svg(figures, mapping.arrays))
    if figures.layers:
        out.print(_layer_table(figures))
    for digital in mapping.digital:
        out.print(f"{digital.name} stays digital: {digital.reason}", markup=False)
    if not figures.layers:
        unpictured = "" if picture is None else f"; {picture} is not written"
        out.print(f"{package.reference}: every layer stays digital, none lies in arrays{unpictured}", markup=False)
        return
    size = f"{mapping.arrays.rows} × {mapping.arrays.columns}"
    out.print(f"{figures.arrays} arrays of {size} cells, {figures.utilization:.1%} of their cells belong to a weight")
    tiles = sum(layer_tiles(mapped, made) for mapped in mapping.layers)
    out.print(
        f"energy, time and area are estimated for {tiles} arrays, one for every tile, of which all of a layer's are "
        "read at the same time"
    )


def _layer_table(figures: MappingReport) -> Table:
    headers = ("layer", "tiles", "rows", "columns", "arrays", "cells", "cells/weight", "weights ≠ 0", "conversions")
    table = Table(*(Column(header, overflow="fold") for header in headers))  # rather folded than cut short
    for layer in figures.layers:
        first, last = layer.arrays[0], layer.arrays[-1]
        table.add_row(
            layer.layer,
            str(layer.tiles),
            str(layer.rows),
            str(layer.columns),
            f"{first}…{last}" if first != last else str(first),
            f"{layer.cells:,}",
            str(layer.cells_per_weight),
            f"{layer.used_share:.1%}",
            f"{layer.conversions:,}",
        )
    return table


def _compare() -> None:
    rows = comparison()
    table = Table("published chip", "TOPS/W", "our preset", "TOPS/W", "converters in our energy")
    for row in rows:
        chip = row.published
        ours = f"{row.tops_per_watt:.1f}"
        table.add_row(chip.name, f"{chip.tops_per_watt:g}", chip.preset, ours, f"{row.adc_share:.0%}")
    out.print(table)
    out.print(
        "ours: whole tiles, codes half 0 and else evenly spread, weights normal with σ = a quarter of the largest"
    )
    for row in rows:
        chip = row.published
        out.print(f"{chip.name} ({chip.source}): {chip.reasons}", markup=False, highlight=False)


def _cut(text: str) -> Cut:
    if text not in ("channels", "kernel"):
        raise ValueError(f"--cut: {text!r} is neither channels nor kernel")
    return "channels" if text == "channels" else "kernel"


def _method(text: str) -> Method:
    known: dict[str, Method] = {name: name for name in ("min-max", "p99.9", "mean-4-sigma", "mse")}
    if text not in known:
        raise ValueError(f"--method: {text!r} is none of {', '.join(known)}")
    return known[text]


def _inputs(source: InputSpec, photos: list[Path]) -> list[NDArray[np.uint8]]:
    if not photos:
        return [np.random.default_rng(0).integers(0, 256, source.tensor.shape, np.uint8)]
    found = (folder_photos(path) if path.is_dir() else read_photos([path]) for path in photos)
    return [to_input(photo, source)[0] for photo in itertools.chain.from_iterable(found)]
