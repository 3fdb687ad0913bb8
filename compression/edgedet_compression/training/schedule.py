"""How a training is run: its length, optimizer, learning rate and averaging, all in one place.

Without torch, which takes seconds to import: a recipe is read and checked before it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
_BelowOne = Annotated[float, Field(ge=0, lt=1)]
"""At 1 nothing would ever be learned."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Precision = Literal["auto", "bf16", "fp32"]
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
    precision: Precision = "auto"
    """Of activations and their gradients, weights stay fp32; auto: bf16 where the processor has instructions for it."""
    evaluate_every: Annotated[int, Field(gt=0)] = 1
    """Epochs."""
    seed: Seed = 0
