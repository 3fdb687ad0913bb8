"""Sparsity training: a penalty that drives the scaling factors γ of BatchNorm towards zero, channel by channel.

L1 alone is Network Slimming (Liu et al. 2017, λ1 = 1e-4); Std Prune (S1.4) adds L2.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def gamma_penalty(l1: float, l2: float) -> Callable[[nn.Module], Tensor]:
    """A term of the loss: Σ l1·|γ| + l2·γ² over all channels of all BatchNorm layers (scalar).

    For `training.loop.Methods.penalty`. A network without BatchNorm has the penalty 0.
    """

    def penalty(network: nn.Module) -> Tensor:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
        gammas: list[Tensor] = [norm.weight for norm in norms]
        if not gammas:
            return torch.zeros(())
        gamma = torch.cat(gammas)
        return l1 * gamma.abs().sum() + l2 * gamma.square().sum()

    return penalty
