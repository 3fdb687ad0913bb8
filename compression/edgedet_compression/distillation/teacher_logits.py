"""Distillation of classifiers: a student's logits follow those of its teacher.

(Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network".)
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.distillation.kept_answers import KeptAnswers, network_hash, question_hash
from edgedet_compression.training.precision import autocast


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
    views: int | None = None
    """Epochs after which the same batches come again, so that the teacher answers each of them once (Shen & Xing 2021,
    "A Fast Knowledge Distillation Framework for Visual Recognition"); none: they never do."""
    first_epoch: int = 0
    """Epochs that trainings before have shown: views are of those that follow."""
    answers: KeptAnswers | None = None
    """Where answers are kept; none: every batch is answered anew."""

    def view(self, epoch: int) -> int:
        """The epoch whose batches this one shows, both counted from the first training's first, 0."""
        return self.first_epoch + (epoch - self.first_epoch) % self.views if self.views else epoch

    def distance(self, logits: Tensor, images: Tensor) -> Tensor:
        """T²·KL to the teacher on the same images, a scalar."""
        taught = self._compute(images) if self.answers is None else self._look_up(images, self.answers)
        return softened_divergence(logits.float(), taught, self.temperature)

    def _look_up(self, images: Tensor, answers: KeptAnswers) -> Tensor:
        question = question_hash(self._hash, images)
        taught = answers.find(question)
        if taught is None:
            taught = self._compute(images)
            answers.keep(question, taught)
        return taught

    @cached_property
    def _hash(self) -> bytes:
        return network_hash(self.teacher, self.dtype)

    def _compute(self, images: Tensor) -> Tensor:
        assert not self.teacher.training
        with torch.no_grad(), autocast(self.dtype):
            logits: Tensor = self.teacher(images).float()
        return logits


def softened_divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """T²·KL(softmax(taught/T) ‖ softmax(logits/T)) of logits [n, classes], the mean over n."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(taught / temperature, dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
