"""Keeps a stage from validating a network on photos that it, or its teacher, has learned: its figures would flatter."""

from collections.abc import Callable
from pathlib import Path

from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe import Recipe, look_up
from edgedet_compression.recipe_stages import (
    BranchReportStage,
    FreshCopyStage,
    PruneWeightsStage,
    Reference,
    SensitivityStage,
    Stage,
    TrainStage,
    references,
)

Folders = Callable[[Recipe], Path]
"""Where the data set of a recipe is: recipes may spell one folder differently."""


def refuse_learned_validation(stage: Stage, recipe: Recipe, folder_of: Folders) -> None:
    """Follow what the stage starts from and what teaches it, also into other recipes.

    Raises:
        BuildRefused: a training before it, or that of a teacher, has learned the photos that it validates on.
    """
    for source in _validated(stage, recipe):
        learner = _learner(source, recipe, recipe, folder_of)
        if learner is not None:
            raise BuildRefused(
                f"it validates on photos that {learner} has learned: let it learn all of them, too (all_data = true), "
                f"or start from, and be taught by, networks that have not learned what {recipe.name} holds out"
            )


def _validated(stage: Stage, recipe: Recipe) -> tuple[Reference, ...]:
    """The networks that the stage validates, or that pass what they know to one that it validates."""
    if not (recipe.data.validation or recipe.data.hold_out):
        return ()
    if isinstance(stage, BranchReportStage):
        return (stage.teacher, *stage.variants)
    if isinstance(stage, SensitivityStage) or (
        isinstance(stage, TrainStage | PruneWeightsStage) and not stage.all_data
    ):
        return references(stage)
    return ()


def _learner(reference: Reference, owner: Recipe, asking: Recipe, folder_of: Folders) -> Reference | None:
    """The nearest training behind a stage of recipe `owner`, or of RECIPE/STAGE, that has learned such photos."""
    owner, stage = look_up(reference, owner)
    if isinstance(stage, TrainStage | PruneWeightsStage) and _learns(stage, owner, asking, folder_of):
        return reference
    if isinstance(stage, FreshCopyStage):  # has the structure alone
        return None
    learners = (_learner(source, owner, asking, folder_of) for source in references(stage))
    return next((learner for learner in learners if learner is not None), None)


def _learns(stage: TrainStage | PruneWeightsStage, owner: Recipe, asking: Recipe, folder_of: Folders) -> bool:
    """Whether a training of `owner` sees photos that `asking` validates on."""
    own, other = asking.data, owner.data
    if own.format != other.format or folder_of(asking) != folder_of(owner):
        return False
    if own.validation:
        return own.validation == other.train or (stage.all_data and own.validation == other.validation)
    if own.train != other.train:
        return False
    return stage.all_data or bool(other.validation) or (own.hold_out, own.seed) != (other.hold_out, other.seed)
