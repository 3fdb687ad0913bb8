"""Runs a recipe stage by stage; what is done already is not done again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet_compression.data.classification_data import ClassificationData
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import SourceMissing
from edgedet_compression.progress import Progress, silent
from edgedet_compression.recipe import (
    BranchReportStage,
    EvaluateStage,
    ExportStage,
    FreshCopyStage,
    PruneChannelsStage,
    PruneWeightsStage,
    Recipe,
    Reference,
    RemoveBranchStage,
    Stage,
    TrainStage,
    load_recipe,
    references,
)
from edgedet_compression.runs import StageFolder, digest
from edgedet_compression.stages.branches import report_branches
from edgedet_compression.stages.context import Context, Figures, OpenData
from edgedet_compression.stages.evaluate import evaluate
from edgedet_compression.stages.export import export
from edgedet_compression.stages.prune_channels import prune_channels
from edgedet_compression.stages.prune_weights import prune_weights
from edgedet_compression.stages.structure import fresh_copy, remove_branch
from edgedet_compression.stages.train import train_network


@dataclass(frozen=True)
class Workplace:
    """Folders of a run: data sets, runs, packages; and who watches."""

    data: Path
    runs: Path
    models: Path
    progress: Progress = silent


def run_recipe(recipe: Recipe, place: Workplace, until: str | None = None) -> dict[str, StageFolder]:
    """Do all stages, or those that stage `until` needs; returns the folders of the stages done.

    Raises:
        CompressionFault: one of its kinds; what was done stays, and the next run goes on from there.
    """
    data = open_data(recipe, place)
    folders = folders_of(recipe, place)
    done: dict[str, StageFolder] = {}
    for stage in _needed(recipe, until):
        folder = folders[stage.name]
        if not folder.done:
            read = {reference: _made(reference, folders, place) for reference in references(stage)}
            folder.begin()
            figures = _STAGES[type(stage)](stage, Context(recipe, data, folder, read, place.models, place.progress))
            folder.finish({"stage": stage.name, "kind": stage.kind, **figures})
        done[stage.name] = folder
    return done


def folders_of(recipe: Recipe, place: Workplace) -> dict[str, StageFolder]:
    """Every stage's folder, done or not."""
    data = open_data(recipe, place)
    root = place.runs / f"{recipe.name}-{digest(recipe.data)[:8]}"
    folders: dict[str, StageFolder] = {}
    for stage in recipe.stages:
        read = [_found(reference, folders, place) for reference in references(stage)]
        inputs = digest(stage, data.fingerprint(), *(folder.inputs for folder in read))
        folders[stage.name] = StageFolder(root / stage.name, inputs)
    return folders


def open_data(recipe: Recipe, place: Workplace) -> OpenData:
    """The data set of a recipe.

    Raises:
        SourceMissing: its folder is not there.
    """
    folder = place.data / recipe.data.folder
    if not folder.is_dir():
        raise SourceMissing(f"recipe {recipe.name}: no folder {folder}: correct EDGEDET_DATA, --data or data.folder")
    kind = DetectionData if recipe.detects else ClassificationData
    return kind(recipe.data, folder, place.progress)


def _needed(recipe: Recipe, until: str | None) -> list[Stage]:
    if until is None:
        return list(recipe.stages)
    wanted = {recipe.stage(until).name}
    for stage in reversed(recipe.stages):
        if stage.name in wanted:
            wanted |= set(references(stage))
    return [stage for stage in recipe.stages if stage.name in wanted]


def _found(reference: Reference, folders: dict[str, StageFolder], place: Workplace) -> StageFolder:
    """The folder of a stage of this recipe, or of RECIPE/STAGE."""
    name, slash, stage = reference.partition("/")
    return folders_of(load_recipe(name), place)[stage] if slash else folders[name]


def _made(reference: Reference, folders: dict[str, StageFolder], place: Workplace) -> StageFolder:
    """The same, done: a stage of another recipe is run as far as needed."""
    name, slash, stage = reference.partition("/")
    return run_recipe(load_recipe(name), place, stage)[stage] if slash else folders[name]


_STAGES: dict[type[Stage], Callable[[Any, Context], Figures]] = {
    TrainStage: train_network,
    RemoveBranchStage: remove_branch,
    FreshCopyStage: fresh_copy,
    PruneChannelsStage: prune_channels,
    PruneWeightsStage: prune_weights,
    EvaluateStage: evaluate,
    BranchReportStage: report_branches,
    ExportStage: export,
}
