"""How many epochs of photos the trainings behind a stage have shown: the next one goes on with others."""

from edgedet_compression.recipe import Recipe, look_up
from edgedet_compression.recipe_stages import GivenStage, PruneWeightsStage, Reference, Stage, TrainStage, origins


def epochs_before(stage: Stage, owner: Recipe) -> int:
    """Of what the stage of recipe `owner` starts from, also in other recipes; the rounds of prunings as planned.

    A fresh copy counts as what it is a copy of: an ablation sees what its counterpart sees.

    A training shows the photos of an epoch in an order and with changes that follow from seed and epoch. One that goes
    on with a network counts its epochs from here, or it would show what the network has seen, once more.
    """
    return max((_epochs_up_to(origin, owner) for origin in origins(stage)), default=0)


def _epochs_up_to(reference: Reference, owner: Recipe) -> int:
    owner, stage = look_up(reference, owner)
    return epochs_before(stage, owner) + _epochs_of(stage)


def _epochs_of(stage: Stage) -> int:
    if isinstance(stage, PruneWeightsStage):
        rounds = stage.rounds if stage.method == "dynamic-percentage" else 1
        return rounds * stage.schedule.epochs
    if isinstance(stage, GivenStage):
        return stage.epochs
    return stage.schedule.epochs if isinstance(stage, TrainStage) else 0
