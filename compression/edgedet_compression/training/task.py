"""The seam between the training loop and what is learned."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class Task(Protocol):
    """A data set and an objective; batches depend on epoch and step alone, so that training can resume anywhere."""

    @property
    def steps(self) -> int:
        """Batches of an epoch."""

    def batch(self, epoch: int, step: int) -> Any:
        """Batch `step` of an epoch, both counted from 0: whatever `loss` takes."""

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, Tensor]:
        """What is minimized, under "loss", and parts of it to be logged beside it; scalars."""

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Figures on the validation split; `network` is in evaluation mode."""
