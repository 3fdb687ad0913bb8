"""What moves the weights under a schedule: SGD and its learning rate."""

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from edgedet_compression.training.schedule import Schedule


def sgd(schedule: Schedule, network: nn.Module) -> torch.optim.SGD:
    """SGD over two groups: weights that decay, and those that do not."""
    decaying = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    free = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": schedule.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=schedule.momentum, nesterov=schedule.momentum > 0)


def one_cycle(schedule: Schedule, optimizer: torch.optim.Optimizer, steps: int) -> OneCycleLR:
    """The learning rate over all `steps` of the training."""
    total = steps + 1  # one more: the scheduler steps after the last batch, too
    first, last = max(schedule.first_lr, 1e-6), max(schedule.last_lr, 1e-9)
    return OneCycleLR(
        optimizer,
        max_lr=schedule.lr,
        total_steps=total,
        pct_start=schedule.warmup if schedule.warmup * total > 1 else 0.0,  # a rise of no step divides by its length
        anneal_strategy="linear" if schedule.shape == "triangular" else "cos",
        cycle_momentum=False,
        div_factor=1.0 / first,
        final_div_factor=first / last,
    )
