"""``edgedet-nvm evaluate``: a package on one chip beside its digital network."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from edgedet_runtime.package import Package, load_package
from rich.table import Table

from edgedet_nvm.chip_evaluation import ChipEvaluation, evaluate_chip, stored_sidecar
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.environment import CornerName
from edgedet_nvm.device.preset import Preset, load_preset
from edgedet_nvm.estimate_told import estimate_json, estimate_line, estimate_table
from edgedet_nvm.photo_options import (
    Annotations,
    Calibrate,
    Data,
    Folder,
    Limit,
    Photos,
    PresetName,
    Threads,
    calibration_inputs,
    chosen_photos,
)
from edgedet_nvm.sidecar import Sidecar, compile_package
from edgedet_nvm.terminal import bar, faults_told, out, refuse_unwritable, told, write


def evaluate(
    folder: Folder,
    preset: PresetName = "nor-flash-65nm",
    chip: Annotated[int, typer.Option(help="Seed of the chip.", min=0)] = 0,
    temperature_c: Annotated[float, typer.Option(help="Temperature in °C.")] = 25.0,
    corner: Annotated[str, typer.Option(help="Process corner: tt, ff, ss, fs or sf.")] = "tt",
    hours: Annotated[float, typer.Option(help="Hours since programming.", min=0)] = 0.0,
    data: Data = None,
    photos: Photos = None,
    annotations: Annotations = None,
    calibrate: Calibrate = None,
    limit: Limit = None,
    threads: Threads = 1,
    to: Annotated[Path | None, typer.Option(help="Write the figures as JSON.", show_default=False)] = None,
) -> None:
    """Accuracy on one chip beside the digital network, on the same photos; how many conversions clip, by layer.

    Energy, time, area, TOPS and TOPS/W are estimated from the codes that all photos sent through the layers on arrays.

    ADC ranges are those of the sidecar package, if there is one beside PACKAGE and --calibrate does not ask for others.

    Example: edgedet-nvm evaluate models/resnet20-cifar10/1 --preset nor-flash-65nm --chip 3 --limit 1000
    """
    with faults_told():
        package, made = load_package(folder), load_preset(preset)
        if to is not None:
            refuse_unwritable(to)
        seen = Chip(made, chip, temperature_c, cast("CornerName", corner), hours)  # which refuses others
        chosen = chosen_photos(package, data, photos, annotations, limit)
        sidecar, source = _sidecar(package, made, preset, data, calibrate)
        with bar(f"{package.reference} on {made.name}, chip {chip}", 2 * len(chosen)) as advance:
            found = evaluate_chip(package, sidecar, seen, chosen, advance, threads)
        _show(found, made, len(chosen))
        if source is not None:
            out.print(f"ranges of the converters: {source}", markup=False, highlight=False)
        if to is not None:
            content = {
                "package": package.reference,
                "digest": package.digest,
                "preset": made.name,
                "chip": {"seed": chip, "temperature_c": temperature_c, "corner": corner, "hours": hours},
                "adc_ranges": source,
                "data": chosen.dataset.name,
                "data_sha256": chosen.dataset.sha256,
                "photos": len(chosen),
                **asdict(found),
                "estimate": None if found.estimate is None else estimate_json(found.estimate),
            }
            write(to, (json.dumps(content, indent=1) + "\n").encode())


def _sidecar(
    package: Package, preset: Preset, preset_name: str, data: Path | None, calibrate: Path | None
) -> tuple[Sidecar, str | None]:
    """Mapping and ADC ranges, and where they come from, if the preset has converters."""
    stored = None if calibrate is not None else stored_sidecar(package, preset)
    if stored is not None:
        return stored, None if stored.ranges is None else f"{stored.name}:{stored.version}"
    inputs = calibration_inputs(package, preset, data, calibrate)
    sidecar = compile_package(package, preset, preset_name, 0, "channels", "mse", inputs)
    return sidecar, None if sidecar.ranges is None else f"calibrated on {len(inputs)} photos"


def _show(found: ChipEvaluation, preset: Preset, photos: int) -> None:
    table = Table("figure", "digital", "chip", "chip − digital")
    for row in found.figures:
        table.add_row(row.figure, told(row.digital), told(row.chip), told(row.difference))
    out.print(table)
    if found.saturation:
        table = Table("layer", f"conversions clipped, {found.saturation_photos} photos")
        for layer, share in found.saturation.items():
            table.add_row(layer, f"{share:.3%}")
        out.print(table)
    if found.estimate is None:
        out.print(f"{preset.name} has no costs or no ADC: energy, time and area are not estimated", markup=False)
        return
    out.print(estimate_table(found.estimate, photos))
    out.print(estimate_line(found.estimate), markup=False, highlight=False)
