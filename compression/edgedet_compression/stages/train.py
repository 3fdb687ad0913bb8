"""The stage `train`: a fresh network, or one of an earlier stage further, with what its recipe adds."""

from collections.abc import Callable

from torch import Tensor, nn

from edgedet_compression.networks.families import parameter_count, save_network, state_bytes
from edgedet_compression.pruning.masks import holding, masks_of_zeros
from edgedet_compression.pruning.sparsity import gamma_penalty
from edgedet_compression.quantization.pact import clip_penalty
from edgedet_compression.recipe_stages import TrainStage
from edgedet_compression.runs import NETWORK
from edgedet_compression.shown_epochs import epochs_before
from edgedet_compression.stages.context import Context, Figures
from edgedet_compression.training.loop import Methods, train
from edgedet_compression.training.precision import dtype_of


def train_network(stage: TrainStage, context: Context) -> Figures:
    """Train, write the network; figures are the whole log and the size. Weights that were pruned stay zero."""
    network = _start(stage, context)
    hold = None
    if stage.start and context.pruned(stage.start):
        hold = holding(masks_of_zeros(network))
    task = context.data.task(stage, context.teacher(stage.distillation), epochs_before(stage, context.recipe))
    methods = Methods(penalty=_penalty(stage), hold=hold)
    log = train(network, task, stage.schedule, context.folder.path, methods, context.progress)
    save_network(network, context.folder.path / NETWORK)
    return {
        "precision": str(dtype_of(stage.schedule.precision)).removeprefix("torch."),
        "parameters": parameter_count(network),
        "bytes": state_bytes(network),
        "log": log,
        **(context.zeros(stage.start, network) if stage.start else {}),
    }


def _start(stage: TrainStage, context: Context) -> nn.Module:
    if stage.network is not None:
        return context.data.fresh(stage.network, stage.schedule.seed)
    assert stage.start is not None
    return context.network(stage.start)


def _penalty(stage: TrainStage) -> Callable[[nn.Module], Tensor] | None:
    if not (stage.gamma_l1 or stage.gamma_l2 or stage.clip_l2):
        return None
    on_gammas, on_clips = gamma_penalty(stage.gamma_l1, stage.gamma_l2), clip_penalty(stage.clip_l2)
    return lambda network: on_gammas(network) + on_clips(network)
