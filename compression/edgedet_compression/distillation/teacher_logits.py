"""Distillation of classifiers: a student's logits follow those of its teacher.

(Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network".)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.training.schedule import autocast


@dataclass(frozen=True)
class TeacherLogits:
    """A teacher in evaluation mode, and how its part of the loss is weighed.

    loss = (1 - weight)·CE + weight·T²·KL(softmax(teacher/T) ‖ softmax(student/T)); T² keeps the gradients of the
    second term as large as those of the first, whatever the temperature T.
    """

    teacher: nn.Module
    temperature: float = 4.0
    weight: float = 0.9
    dtype: torch.dtype = torch.float32
    """Of the teacher's forward pass."""

    def distance(self, logits: Tensor, images: Tensor) -> Tensor:
        """T²·KL to the teacher on the same images; a scalar."""
        assert not self.teacher.training
        with torch.no_grad(), autocast(self.dtype):
            taught = self.teacher(images)
        return softened_divergence(logits.float(), taught.float(), self.temperature)


def softened_divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T²·KL(softmax(taught/T) ‖ softmax(logits/T)) of logits [n, classes], the mean over n."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(taught / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
