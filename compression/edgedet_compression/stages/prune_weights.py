"""The stage `prune-weights` (S0.3): weights become zero, in cycles or at once, and what is left is trained on."""

from collections.abc import Mapping
from dataclasses import asdict, replace

from torch import nn

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.pruning.criteria import Criterion, equal_deviations, equal_percentage, one_threshold
from edgedet_compression.pruning.cycles import CyclePlan, prune_in_cycles
from edgedet_compression.pruning.masks import Masks, holding, masks_of_zeros, prunable_weights, sparsity
from edgedet_compression.recipe_stages import PruneWeightsStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.shown_epochs import epochs_before
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.training.loop import CHECKPOINT, Methods, read_log, train

_CRITERIA: dict[str, Criterion] = {
    "dynamic-percentage": one_threshold,
    "fixed-threshold": one_threshold,
    "sigma-multiple": equal_deviations,
    "one-shot": equal_percentage,
}


def prune_weights(stage: PruneWeightsStage, context: Context) -> Figures:
    """Prune, write the network and its sparse file; figures tell the rounds and the real bytes.

    Raises:
        BuildRefused: the network has as many zeros as are wished already.
    """
    network = context.network(stage.start)
    begun = _begun(stage, context, network)
    zeros = masks_of_zeros(network) if context.pruned(stage.start) else {}  # in layers that are spared, too
    task = context.data.task(stage, context.teacher(stage.distillation), epochs_before(stage, context.recipe))

    def fine_tune(pruned: nn.Module, masks: Masks, number: int) -> None:
        folder = context.folder.path / f"round-{number}"
        # The round before is kept by its weights; a checkpoint has three times the network's size.
        (context.folder.path / f"round-{number - 1}" / CHECKPOINT).unlink(missing_ok=True)
        further = replace(task, first_epoch=task.first_epoch + (number - 1) * stage.schedule.epochs)
        train(pruned, further, stage.schedule, folder, Methods(hold=holding({**zeros, **masks})), context.progress)

    def validate(pruned: nn.Module) -> float | None:
        return None if stage.all_data else _figure(task.evaluate(pruned.eval()))

    plan = _plan(stage, validate(network), begun)
    rounds = prune_in_cycles(network, plan, fine_tune, validate, context.folder.path, _CRITERIA[stage.method])
    trained = [context.folder.path / f"round-{number}" for number in range(1, len(rounds) + 1)]
    logs = [read_log(folder) for folder in trained]
    for folder in trained:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    save_network(network, context.folder.path / NETWORK)
    return {
        "method": stage.method,
        "parameters": parameter_count(network),
        "reference": plan.reference,
        "begun": plan.begun,
        "rounds": [asdict(done) for done in rounds],
        "sparsity_wished": stage.sparsity,
        "sparsity": sparsity(prunable_weights(network)).total,
        "logs": logs,
        **context.sparse_file(network),
    }


def _begun(stage: PruneWeightsStage, context: Context, network: nn.Module) -> float:
    """The share of zeros that a stage before left; what is zero by chance does not count.

    Raises:
        BuildRefused: there are as many as are wished already.
    """
    if not context.pruned(stage.start):
        return 0.0
    begun = sparsity(prunable_weights(network, stage.spared)).total
    if begun >= stage.sparsity:
        raise BuildRefused(
            f"stage {stage.name}: sparsity = {stage.sparsity}: start = {stage.start} has {begun:.2%} zeros in these "
            "layers already: give a larger sparsity, or another start"
        )
    return begun


def _plan(stage: PruneWeightsStage, reference: float | None, begun: float) -> CyclePlan:
    """The baselines prune once, and keep what comes of it."""
    dynamic = stage.method == "dynamic-percentage"
    return CyclePlan(
        sparsity=stage.sparsity,
        rounds=stage.rounds if dynamic else 1,
        reference=reference,
        tolerance=stage.tolerance if dynamic else 1.0,
        begun=begun,
        spared=stage.spared,
    )


def _figure(found: Mapping[str, float]) -> float:
    """top-1 or mAP50."""
    return found["top1"] if "top1" in found else found["mAP50"]
