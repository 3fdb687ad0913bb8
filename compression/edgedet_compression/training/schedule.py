"""How a training is run: its length, optimizer, learning rate and averaging, all in one place."""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from edgedet_compression.processor import has_bf16

Share = Annotated[float, Field(ge=0, le=1)]
_BelowOne = Annotated[float, Field(ge=0, lt=1)]
"""At 1 nothing would ever be learned."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Schedule(BaseModel):
    """SGD with Nesterov momentum under a one-cycle learning rate (Smith & Topin 2017)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)]
    """Photos of a step."""
    lr: Annotated[float, Field(gt=0, le=10)]
    """At the peak."""
    shape: Literal["triangular", "cosine"] = "triangular"
    """How the learning rate rises and falls."""
    warmup: Share = 0.2
    """Share of all steps before the peak."""
    first_lr: Share = 0.1
    """Learning rate at the start, of the peak's."""
    last_lr: Share = 0.001
    """Learning rate at the end, of the peak's."""
    momentum: _BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    """Of convolutions and fully connected layers; BatchNorm and biases have none."""
    label_smoothing: _BelowOne = 0.0
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Gradients are scaled down to this norm."""
    ema: _BelowOne | None = None
    """Decay a step of the averaged network that is evaluated and kept; none: the network itself."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of activations and their gradients, weights stay fp32; auto: bf16 where the processor has instructions for it."""
    evaluate_every: Annotated[int, Field(gt=0)] = 1
    """Epochs."""
    seed: Seed = 0

    @property
    def dtype(self) -> torch.dtype:
        """What `precision` means on this machine."""
        if self.precision == "auto":
            return torch.bfloat16 if has_bf16() else torch.float32
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def optimizer(self, network: nn.Module) -> torch.optim.SGD:
        """SGD over two groups: weights that decay, and those that do not."""
        decaying = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        free = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decaying, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0)

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> OneCycleLR:
        """The learning rate over all `steps` of the training."""
        total = steps + 1  # one more: the scheduler steps after the last batch, too
        first, last = max(self.first_lr, 1e-6), max(self.last_lr, 1e-9)
        return OneCycleLR(
            optimizer,
            max_lr=self.lr,
            total_steps=total,
            pct_start=self.warmup if self.warmup * total > 1 else 0.0,  # a rise of no step divides by its length
            anneal_strategy="linear" if self.shape == "triangular" else "cos",
            cycle_momentum=False,
            div_factor=1.0 / first,
            final_div_factor=first / last,
        )


def autocast(dtype: torch.dtype) -> AbstractContextManager[object]:
    """Around a forward pass."""
    return torch.autocast("cpu", dtype) if dtype is torch.bfloat16 else nullcontext()
