"""The commands of ``edgedet-compress`` around recipes: run them, go on, look at what they reached.

Torch takes seconds to import: what needs it is imported where it is used, after the recipe was read and checked.
"""
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from edgedet_compression.commands import Data, app
from edgedet_compression.errors import BuildRefused
from edgedet_compression.progress import Progress
from edgedet_compression.recipe import load_recipe, recipe_names, recipe_text
from edgedet_compression.recipe_stages import ExportStage
from edgedet_compression.sources import data_folder
from edgedet_compression.terminal import bars, faults_told, out

if TYPE_CHECKING:
    from edgedet_compression.runner import Workplace
    from edgedet_compression.runs import StageFolder

__all__ = ["app"]

_KEPT = "what is done is kept, and the same command goes on from there"
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe by name, or a file NAME.toml.")]
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder of runs (default ~/.cache/edgedet/runs).", envvar="EDGEDET_RUNS", show_default=False),
]
Models = Annotated[Path, typer.Option(help="Folder of packages.", envvar="EDGEDET_MODELS")]


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's TOML.", show_default=False)] = None,
) -> None:
    """List the recipes that come with EdgeDet, or print one as a start for your own.

    Examples:

    - edgedet-compress recipes

    - edgedet-compress recipes my-detector > mine.toml
    """
    with faults_told():
        if name is not None:
            text = recipe_text(name)
            if sys.stdout.isatty():
                out.print(Syntax(text, "toml"), soft_wrap=True, end="")
            else:  # into a file: as it is, whatever FORCE_COLOR says
                typer.echo(text, nl=False)
            return
        table = Table("recipe", "what it does", "stages")
        for known in recipe_names():
            recipe = load_recipe(known)
            table.add_row(known, recipe.description, ", ".join(stage.name for stage in recipe.stages))
        out.print(table)


@app.command()
def run(
    recipe: RecipeName,
    data: Data = None,
    runs: Runs = None,
    models: Models = Path("models"),
    until: Annotated[str | None, typer.Option(help="Last stage to do, with all that it needs.")] = None,
) -> None:
    """Do a recipe's stages; those that are done already, on the same inputs, are not done again.

    Ctrl-C stops at the next step and keeps a checkpoint: the same command goes on from there.

    Examples:

    - edgedet-compress run vgg16-cifar10

    - edgedet-compress run mine.toml --until dense
    """
    with faults_told(_KEPT), bars() as progress:
        found = load_recipe(recipe)
        from edgedet_compression.runner import run_recipe

        done = run_recipe(found, _place(data, runs, models, progress), until)
    _show(done)


@app.command()
def resume(recipe: RecipeName, data: Data = None, runs: Runs = None, models: Models = Path("models")) -> None:
    """Go on with a run that was stopped; refuses one that was never begun.

    Example: edgedet-compress resume yolov3-bccd
    """
    with faults_told(_KEPT), bars() as progress:
        found = load_recipe(recipe)
        from edgedet_compression.runner import folders_of, run_recipe

        place = _place(data, runs, models, progress)
        if not any(folder.path.is_dir() for folder in folders_of(found, place).values()):
            raise BuildRefused(f"{recipe} was never begun below {place.runs}: edgedet-compress run {recipe}")
        done = run_recipe(found, place)
    _show(done)


@app.command()
def export(
    recipe: RecipeName,
    stage: Annotated[str | None, typer.Argument(help="An export stage; default: all of them.")] = None,
    data: Data = None,
    runs: Runs = None,
    models: Models = Path("models"),
) -> None:
    """Write a recipe's packages, with all stages that they need.

    Example: edgedet-compress export yolov3-bccd package
    """
    with faults_told(_KEPT), bars() as progress:
        found = load_recipe(recipe)
        names = [stage] if stage else [entry.name for entry in found.stages if isinstance(entry, ExportStage)]
        if not names or any(not isinstance(found.stage(name), ExportStage) for name in names):
            known = ", ".join(entry.name for entry in found.stages if isinstance(entry, ExportStage)) or "none"
            raise BuildRefused(f"{stage or recipe}: no export stage; {found.name} has: {known}")
        from edgedet_compression.runner import run_recipe

        place = _place(data, runs, models, progress)
        done: dict[str, StageFolder] = {}
        for name in names:
            done |= run_recipe(found, place, name)
    _show({name: done[name] for name in names})


@app.command()
def report(
    recipe: RecipeName,
    data: Data = None,
    runs: Runs = None,
    models: Models = Path("models"),
    file: Annotated[Path | None, typer.Option("--to", help="HTML file (default RECIPE.html).")] = None,
) -> None:
    """Write what a run has reached so far as one HTML file that opens offline.

    Example: edgedet-compress report yolov3-bccd --to report.html
    """
    with faults_told(), bars() as progress:
        found = load_recipe(recipe)
        target = file or Path(f"{found.name}.html")
        if target.suffix == ".json":
            raise BuildRefused(f"--to {target}: the figures are written there; give the HTML file a name of its own")
        if target.is_dir() or not target.absolute().parent.is_dir():
            raise BuildRefused(f"--to {target}: no file can be written there; give the HTML file's name in a folder")
        from edgedet_compression.runner import folders_of, folders_read, open_data
        from edgedet_compression.stages.report import report_run

        place = _place(data, runs, models, progress)
        folders = folders_of(found, place)
        known = folders | folders_read(found, folders, place)
        report_run(found, known, open_data(found, place), target, f"edgedet-compress run {recipe}", progress)
    out.print(f"{target}, {target.with_suffix('.json')}", soft_wrap=True, highlight=False, markup=False)


def _place(data: Path | None, runs: Path | None, models: Path, progress: Progress) -> "Workplace":
    from edgedet_compression.runner import Workplace
    from edgedet_compression.runs import runs_folder

    return Workplace(data_folder(data) if data else None, runs_folder(runs), models, progress)


def _show(done: "dict[str, StageFolder]") -> None:
    table = Table("stage", "reached")
    for name, folder in done.items():
        table.add_row(name, escape(_summary(folder.result())))
    out.print(table)


def _summary(result: dict[str, Any]) -> str:
    parts = []
    if "parameters" in result:
        parts.append(f"{result['parameters']:,} parameters")
    if result.get("log"):
        last = result["log"][-1]
        parts += [f"{name} {last[name]:.4f}" for name in ("loss", "top1", "mAP50") if name in last]
    if "sparsity_wished" in result:
        kept = [entry["sparsity"] for entry in result["rounds"] if entry["kept"]]
        reached = max(kept, default=result.get("begun", 0.0))
        parts.append(f"{reached:.2%} zeros in the layers pruned, wished {result['sparsity_wished']:.2%}")
    for name, figures in (result.get("networks", {}) | result.get("packages", {})).items():
        measured = {key: found for key, found in figures.items() if isinstance(found, dict)}
        parts += [f"{name}: {key} {_estimate(found)}" for key, found in measured.items()]
        if name != result["baseline"]:
            against = f"{name} − {result['baseline']}"
            parts += [f"{against}: {key} {_estimate(found['minus baseline'], '+')}" for key, found in measured.items()]
    if "package" in result:
        parts.append(result["package"])
    return "\n".join(parts)


def _estimate(found: dict[str, float], sign: str = "") -> str:
    value, low, high = (format(found[part], f"{sign}.4f") for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
