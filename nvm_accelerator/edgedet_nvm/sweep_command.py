"""``edgedet-nvm sweep``: Monte Carlo over chips, results as JSON lines, CSV and plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from edgedet_runtime.package import load_package
from rich.table import Table

from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.monte_carlo.grid import make_grid
from edgedet_nvm.monte_carlo.plots import plots
from edgedet_nvm.monte_carlo.summary import ConditionSummary, as_csv, summarize
from edgedet_nvm.monte_carlo.sweep import Outcome, Sweep, run_sweep
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
from edgedet_nvm.terminal import bar, faults_told, out, told, write

_RESULTS = "sweep.jsonl"


def sweep(
    folder: Folder,
    to: Annotated[Path, typer.Option(help="Folder of the results; what it holds is not done again.")],
    preset: PresetName = "nor-flash-65nm",
    chips: Annotated[int, typer.Option(help="How many chips; their seeds are 0, 1, 2, …")] = 10,
    corners: Annotated[str, typer.Option(help="Apart by commas, as all lists: tt,ff,ss,fs,sf.")] = "tt",
    temperatures_c: Annotated[str, typer.Option(help="°C.")] = "25",
    hours: Annotated[str, typer.Option(help="Hours since programming.")] = "0",
    sigma_scales: Annotated[str, typer.Option(help="Multiples of the preset's σ of programming.")] = "1",
    adc_bits: Annotated[str, typer.Option(help="Bits of the converter; default: the preset's.")] = "",
    rows: Annotated[str, typer.Option(help="Rows of an array; default: the preset's.")] = "",
    data: Data = None,
    photos: Photos = None,
    annotations: Annotations = None,
    calibrate: Calibrate = None,
    limit: Limit = None,
    threads: Threads = 1,
) -> None:
    """Monte Carlo: every chip under every combination of the lists; results as JSON lines, CSV and plots.

    Ctrl-C stops it at once; the same command, also with longer lists, goes on from there.

    Converters are calibrated anew for each of --rows and --adc-bits, by `mse`, tiles cut by channels; sidecars are not
    read. `evaluate` takes the ranges of a sidecar where there is one.

    Example: edgedet-nvm sweep models/resnet20-cifar10/1 --to sweeps/sigma --chips 10 --sigma-scales 0,1,2,5,10
    """
    with faults_told(f"what is done is kept in {to}, and the same command goes on from there"):
        if to.exists() and not to.is_dir():
            raise ValueError(f"--to: {to} is no folder: name one")
        grid = make_grid(
            chips=chips,
            corners=_list(corners),
            temperatures_c=_list(temperatures_c),
            hours=_list(hours),
            sigma_scales=_list(sigma_scales),
            adc_bits=_list(adc_bits),
            rows=_list(rows),
        )
        package, made = load_package(folder), load_preset(preset)
        grid.conditions(made)  # what cannot be is refused before photos are read
        chosen = chosen_photos(package, data, photos, annotations, limit)
        calibration = calibration_inputs(package, made, data, calibrate)
        outcome = run_sweep(Sweep(package, made, grid, chosen, calibration, threads), to / _RESULTS, bar)
        summaries = summarize(outcome)
        _show(summaries, outcome)
        write(to / "sweep.csv", as_csv(summaries, outcome).encode())
        for name, content in plots(summaries, outcome).items():
            write(to / name, content)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _show(summaries: Sequence[ConditionSummary], outcome: Outcome) -> None:
    measured = outcome.header.measured
    title = f"{measured.figure}, {measured.photos:,} photos; digital {outcome.header.digital:.4f}"
    table = Table("corner", "°C", "hours", "σ scale", "ADC bits", "rows", "mean of chips", "worst", title=title)
    for entry in summaries:
        at = entry.condition
        cells: list[object] = [at.corner, f"{at.temperature_c:g}", f"{at.hours:g}", f"{at.sigma_scale:g}"]
        cells += [at.adc_bits or "none", at.rows, told(entry.mean), f"{min(entry.values):.4f}"]
        table.add_row(*map(str, cells))
    out.print(table)
    out.print(f"σ scale 1 is {measured.sigma_of}", markup=False)
