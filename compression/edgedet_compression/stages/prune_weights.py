"""The stage `prune-weights` (S0.3): weights become zero, in cycles or at once, and what is left is trained on."""

from collections.abc import Mapping
from dataclasses import asdict
from shutil import rmtree

from torch import nn

from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.pruning.criteria import Criterion, equal_deviations, equal_percentage, one_threshold
from edgedet_compression.pruning.cycles import CyclePlan, prune_in_cycles
from edgedet_compression.pruning.masks import Masks, holding, prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import write_sparse
from edgedet_compression.recipe import PruneWeightsStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.training.loop import Methods, train

SPARSE = "network.sparse"
_CRITERIA: dict[str, Criterion] = {
    "dynamic-percentage": one_threshold,
    "fixed-threshold": one_threshold,
    "sigma-multiple": equal_deviations,
    "one-shot": equal_percentage,
}


def prune_weights(stage: PruneWeightsStage, context: Context) -> Figures:
    """Prune, write the network and its sparse file; figures tell the rounds and the real bytes."""
    network = context.network(stage.start)
    task = context.data.task(stage)
    dynamic = stage.method == "dynamic-percentage"
    plan = CyclePlan(
        sparsity=stage.sparsity,
        rounds=stage.rounds if dynamic else 1,
        reference=_figure(task.evaluate(network)),
        # The baselines prune once and keep what comes of it.
        tolerance=stage.tolerance if dynamic else 1.0,
        spared=stage.spared,
    )
    logs: list[object] = []

    def fine_tune(pruned: nn.Module, masks: Masks, number: int) -> None:
        folder = context.folder.path / f"round-{number}"
        log = train(pruned, task, stage.schedule, folder, Methods(hold=holding(masks)), context.progress)
        logs.append(log)

    rounds = prune_in_cycles(
        network, plan, fine_tune, lambda pruned: _figure(task.evaluate(pruned.eval())), context.folder.path,
        _CRITERIA[stage.method],
    )  # fmt: skip
    for number in range(1, len(rounds) + 1):
        rmtree(context.folder.path / f"round-{number}", ignore_errors=True)
    save_network(network, context.folder.path / NETWORK)
    size = write_sparse(network, context.folder.path / SPARSE, values="fp32")
    return {
        "method": stage.method,
        "parameters": parameter_count(network),
        "reference": plan.reference,
        "rounds": [asdict(done) for done in rounds],
        "sparsity": sparsity(prunable_weights(network)).total,
        "bytes_sparse": size.total,
        "logs": logs,
    }


def _figure(found: Mapping[str, float]) -> float:
    """top-1 or mAP50."""
    return found.get("top1", found.get("mAP50", 0.0))
