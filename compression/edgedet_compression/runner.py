"""Runs a recipe stage by stage; what is done already is not done again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgedet_compression.data.classification_data import ClassificationData
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.data.download import DATA_SETS
from edgedet_compression.errors import BuildRefused, CompressionFault, SourceMissing
from edgedet_compression.held_out import refuse_learned_photos
from edgedet_compression.progress import Progress, silent
from edgedet_compression.recipe import DataSettings, Recipe, load_recipe
from edgedet_compression.recipe_faults import made_by, wanted_by
from edgedet_compression.recipe_stages import (
    AverageStage,
    BranchReportStage,
    EvaluateStage,
    ExportStage,
    FreshCopyStage,
    GivenStage,
    PruneChannelsStage,
    PruneWeightsStage,
    QuantizeStage,
    Reference,
    RemoveBranchStage,
    SensitivityStage,
    Stage,
    TrainStage,
    references,
)
from edgedet_compression.runs import StageFolder, digest
from edgedet_compression.sources import cache_folder
from edgedet_compression.stages.average import average_networks
from edgedet_compression.stages.branches import report_branches
from edgedet_compression.stages.context import Context, Figures, OpenData
from edgedet_compression.stages.evaluate import evaluate
from edgedet_compression.stages.export import export, package_target
from edgedet_compression.stages.given import take_given, weights_file
from edgedet_compression.stages.prune_channels import prune_channels
from edgedet_compression.stages.prune_weights import prune_weights
from edgedet_compression.stages.quantize import insert_quantizers
from edgedet_compression.stages.sensitivity import scan_layers
from edgedet_compression.stages.structure import fresh_copy, remove_branch
from edgedet_compression.stages.train import train_network
from edgedet_compression.training.loop import CHECKPOINT


@dataclass(frozen=True)
class Workplace:
    """Folders of a run: data sets, runs, packages; and who watches."""

    data: Path | None
    """None: what `edgedet-compress fetch` has put into the cache, the working directory, and absolute paths."""
    runs: Path
    models: Path
    progress: Progress = silent
    opened: dict[tuple[DataSettings, Path], OpenData] = field(default_factory=dict)
    """Data sets of this and other recipes: reading and hashing CIFAR-10 takes seconds."""


def run_recipe(recipe: Recipe, place: Workplace, until: str | None = None) -> dict[str, StageFolder]:
    """Do all stages, or those that stage `until` needs; returns the folders of the stages done.

    Raises:
        CompressionFault: one of its kinds; what was done stays, and the next run goes on from there.
    """
    needed = _needed(recipe, until)  # before photos are read: there may be no such stage
    data, folders = open_data(recipe, place), folders_of(recipe, place)
    _check_all(recipe, until, place)
    at_start = folders_read(recipe, folders, place)
    done: dict[str, StageFolder] = {}
    for stage in needed:
        folder = folders[stage.name]
        if not folder.done:
            read = {reference: _made(reference, at_start[reference], place) for reference in references(stage)}
            _do(stage, Context(recipe, data, folder, read, place.data, place.models, place.runs, place.progress))
        done[stage.name] = folder
    return done


def _do(stage: Stage, context: Context) -> None:
    folder = context.folder
    with folder.at_work():
        if folder.done:  # by another process, just now
            return
        context.progress(f"stage {stage.name} ({stage.kind})", 0)
        figures = _STAGES[type(stage)](stage, context)
        folder.finish({"stage": stage.name, "kind": stage.kind, "torch": torch.__version__, **figures})
        (folder.path / CHECKPOINT).unlink(missing_ok=True)  # three times the network's size


def folders_of(recipe: Recipe, place: Workplace) -> dict[str, StageFolder]:
    """Every stage's folder, done or not.

    Raises:
        BuildRefused: recipes name each other's stages in a circle, or those of other data.
    """
    return _folders(recipe, place, ())


def _folders(recipe: Recipe, place: Workplace, above: tuple[str, ...]) -> dict[str, StageFolder]:
    """The same; `above` are the recipes that asked."""
    asked = (*above, recipe.name)
    if recipe.name in above:
        raise BuildRefused(
            f"recipes need each other: {' → '.join(asked)}: "
            "take one of these references out, or give each recipe a name of its own"
        )
    data = open_data(recipe, place)
    folders: dict[str, StageFolder] = {}
    for stage in recipe.stages:
        read = {reference: _found(reference, recipe, folders, place, asked) for reference in references(stage)}
        tests = isinstance(stage, EvaluateStage | ExportStage)
        settings = recipe.data if tests else recipe.data.without_test
        photos = data.test_fingerprint if tests else data.fingerprint
        # A package in another folder is another one.
        where = str(place.models.absolute()) if isinstance(stage, ExportStage) else ""
        inputs = digest(settings, stage, photos, where, *(folder.inputs for folder in read.values()))
        packages = {name: read[name] for name in stage.packages} if isinstance(stage, EvaluateStage) else {}
        folders[stage.name] = StageFolder(place.runs / recipe.name / f"{stage.name}-{inputs[:8]}", inputs, packages)
    return folders


def folders_read(recipe: Recipe, folders: dict[str, StageFolder], place: Workplace) -> dict[Reference, StageFolder]:
    """The folders of all that the recipe's stages read, those of other recipes among them."""
    named = dict.fromkeys(reference for stage in recipe.stages for reference in references(stage))
    return {reference: _found(reference, recipe, folders, place, (recipe.name,)) for reference in named}


def open_data(recipe: Recipe, place: Workplace) -> OpenData:
    """The data set of a recipe, opened once for all that ask: in the data folder, else the cache, else where we are.

    Raises:
        SourceMissing: its folder is not there.
    """
    named = Path(recipe.data.folder).expanduser()
    places = dict.fromkeys(root / named for root in (place.data, cache_folder(), Path()) if root is not None)
    folder = next((each for each in places if each.is_dir()), None)
    if folder is None:
        wanted = f"recipe {recipe.name}: no folder {' nor '.join(map(str, places))}"
        raise SourceMissing(f"{wanted}: {_advice(recipe)}correct EDGEDET_DATA, --data or data.folder")
    if (recipe.data, folder) not in place.opened:
        kind = DetectionData if recipe.detects else ClassificationData
        place.opened[recipe.data, folder] = kind(recipe.data, folder, place.progress)
    return place.opened[recipe.data, folder]


def _advice(recipe: Recipe) -> str:
    """How to get the data sets that can be had for the asking."""
    known = any(data_set.name == recipe.data.folder for data_set in DATA_SETS)
    return f"`edgedet-compress fetch {recipe.data.folder}` downloads it; or " if known else ""


def _needed(recipe: Recipe, until: str | None) -> list[Stage]:
    if until is None:
        return list(recipe.stages)
    wanted = {recipe.stage(until).name}
    for stage in reversed(recipe.stages):
        if stage.name in wanted:
            wanted |= set(references(stage))
    return [stage for stage in recipe.stages if stage.name in wanted]


def _check_all(recipe: Recipe, until: str | None, place: Workplace) -> None:
    """Find out before the work what a stage would be refused for after hours; also those of other recipes."""
    data, folders = open_data(recipe, place), folders_of(recipe, place)
    to_do = [stage for stage in _needed(recipe, until) if not folders[stage.name].done]
    if to_do:
        data.check_splits(test=any(isinstance(stage, EvaluateStage | ExportStage) for stage in to_do))
    for stage in to_do:
        _check(stage, recipe, data, place)
        for name, slash, other in (reference.rpartition("/") for reference in references(stage)):
            if slash:
                _check_all(load_recipe(name), other, place)


def _check(stage: Stage, recipe: Recipe, data: OpenData, place: Workplace) -> None:
    """What one stage would be refused for."""
    try:
        _check_references(stage)
        refuse_learned_photos(stage, recipe, lambda other: open_data(other, place))
        if isinstance(stage, ExportStage):
            package_target(stage, recipe, data, place.models, place.runs)
        elif isinstance(stage, TrainStage | PruneWeightsStage):
            data.check(stage)
        elif isinstance(stage, AverageStage):
            data.check(stage.as_training)
        elif isinstance(stage, GivenStage):
            weights_file(stage, place.data)
    except CompressionFault as error:
        raise type(error)(f"{recipe.name}, stage {stage.name}: {error}") from error


def _check_references(stage: Stage) -> None:
    """Those to other recipes, which a recipe does not look up when it is read."""
    for reference, what in wanted_by(stage):
        name, slash, other = reference.rpartition("/")
        if slash and made_by(load_recipe(name).stage(other)) != what:
            raise BuildRefused(f"{reference} is no stage that {what}: name another one")


def _found(
    reference: Reference, recipe: Recipe, folders: dict[str, StageFolder], place: Workplace, asked: tuple[str, ...]
) -> StageFolder:
    """The folder of a stage of this recipe, or of RECIPE/STAGE."""
    name, slash, stage = reference.rpartition("/")
    if not slash:
        return folders[stage]
    other = load_recipe(name)
    folder = _folders(other, place, asked)[other.stage(stage).name]
    for setting, (own, its) in _read_differently(recipe, other, place).items():
        raise BuildRefused(
            f"{recipe.name}: data.{setting} is {own!r}, but {its!r} where {reference} is made: make them one"
        )
    return folder


def _read_differently(recipe: Recipe, other: Recipe, place: Workplace) -> dict[str, tuple[object, object]]:
    """Settings of two recipes' data that a network of one would be wrong under in the other."""
    fields = ("format", "normalization", "size")
    pairs = {field: (getattr(recipe.data, field), getattr(other.data, field)) for field in fields}
    pairs["labels"] = (open_data(recipe, place).labels, open_data(other, place).labels)
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def _made(reference: Reference, at_start: StageFolder, place: Workplace) -> StageFolder:
    """The same, done: a stage of another recipe is run as far as needed.

    Raises:
        BuildRefused: that recipe was edited since the run began, hours ago perhaps: what reads it would not be what its
            folder's name says.
    """
    name, slash, stage = reference.rpartition("/")
    if not slash:
        return at_start
    other = load_recipe(name)
    if folders_of(other, place)[stage].inputs != at_start.inputs:
        raise BuildRefused(
            f"{reference} is no longer what it was when this run began: its recipe was edited, or one behind it; the "
            "same command goes on with it as it is now"
        )
    return run_recipe(other, place, stage)[stage]


_STAGES: dict[type[Stage], Callable[[Any, Context], Figures]] = {
    TrainStage: train_network,
    AverageStage: average_networks,
    GivenStage: take_given,
    RemoveBranchStage: remove_branch,
    FreshCopyStage: fresh_copy,
    PruneChannelsStage: prune_channels,
    QuantizeStage: insert_quantizers,
    PruneWeightsStage: prune_weights,
    SensitivityStage: scan_layers,
    EvaluateStage: evaluate,
    BranchReportStage: report_branches,
    ExportStage: export,
}
