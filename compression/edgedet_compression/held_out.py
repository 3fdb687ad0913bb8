"""Keeps a stage from measuring a network on photos that it, or its teacher, has learned: its figures would flatter."""

from collections.abc import Callable, Iterator
from pathlib import Path

from edgedet_compression.data.shared_photos import Splits
from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe import Recipe, look_up
from edgedet_compression.recipe_stages import (
    BranchReportStage,
    EvaluateStage,
    ExportStage,
    FreshCopyStage,
    PruneWeightsStage,
    Reference,
    SensitivityStage,
    Stage,
    TrainStage,
    references,
)

SplitsOf = Callable[[Recipe], Splits]
"""Those of the data set of a recipe."""


def refuse_learned_photos(stage: Stage, recipe: Recipe, splits_of: SplitsOf) -> None:
    """Follow what the stage starts from and what teaches it, also into other recipes.

    Raises:
        BuildRefused: a training before it, or that of a teacher, has learned photos that it validates or tests on.
    """
    splits = splits_of(recipe)
    if _validates(stage):
        for learner, photo in _learners(stage, recipe, splits.held_files.real, splits_of):
            raise BuildRefused(
                f"it validates on photos that {learner} has learned, such as {photo}: let it learn all of them, too "
                "(all_data = true), or start from, and be taught by, networks that have not learned them"
            )
    elif isinstance(stage, EvaluateStage | ExportStage):
        for learner, photo in _learners(stage, recipe, splits.test_files.real, splits_of):
            raise BuildRefused(
                f"it tests on photos that {learner} has learned, such as {photo}: give another data.test, or take "
                "networks that have not learned them"
            )


def _validates(stage: Stage) -> bool:
    """Itself, or a network that it passes on what it knows to."""
    if isinstance(stage, TrainStage | PruneWeightsStage):
        return not stage.all_data
    return isinstance(stage, BranchReportStage | SensitivityStage)


def _learners(
    stage: Stage, owner: Recipe, measured: frozenset[Path], splits_of: SplitsOf
) -> Iterator[tuple[Reference, Path]]:
    """The trainings behind a stage of recipe `owner`, the nearest first, that have learned one of these photos."""
    if isinstance(stage, FreshCopyStage):  # has the structure alone
        return
    for reference in references(stage):
        its_owner, behind = look_up(reference, owner)
        if isinstance(behind, TrainStage | PruneWeightsStage):
            splits = splits_of(its_owner)
            learned = (splits.learned_files, splits.held_files) if behind.all_data else (splits.learned_files,)
            both = [photo for part in learned for photo in measured & part.real]
            if both:
                yield reference, min(both)
        yield from _learners(behind, its_owner, measured, splits_of)
