"""Classification as a task: augmented images in, cross entropy, top-1 accuracy on the validation split."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.image_augmentation import cut_out, flipped, gather, mix_up, recolor
from edgedet_compression.data.labeled_images import ImageSet
from edgedet_compression.distillation.teacher_logits import TeacherLogits
from edgedet_compression.errors import BuildRefused
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.training.precision import autocast

# Purposes of random streams; a number of its own for each keeps them apart.
_ORDER, _FLIP, _CHANGE = 1, 2, 3
_EVALUATED_AT_ONCE = 500


@dataclass(frozen=True)
class ClassificationBatch:
    """Normalized images float [n, C, H, W], channels last in memory, and labels int64 [n].

    Mixed images have the labels' probabilities in their place, float [n, classes].
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ClassificationTask:
    """Learns `learned`; an epoch shows each image at most once, in an order of its own.

    Raises:
        BuildRefused: fewer images than a batch holds.
    """

    learned: ImageSet
    validation: ImageSet | None
    """None where all images are learned."""
    normalization: Normalization
    batch_size: int
    seed: int
    augmentation: ImageAugmentation
    label_smoothing: float = 0.0
    distill: TeacherLogits | None = None
    dtype: torch.dtype = torch.float32
    """Of the forward pass in `evaluate`."""
    first_epoch: int = 0
    """Epochs that trainings before this one have shown: it goes on with other orders and changes."""

    def __post_init__(self) -> None:
        if not 0 < self.batch_size <= len(self.learned):
            raise BuildRefused(
                f"batch = {self.batch_size}: {self.learned.name} has {len(self.learned)} images to learn: "
                "give a smaller one"
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch; what does not fill a batch waits for another epoch's order."""
        return len(self.learned) // self.batch_size

    def batch(self, epoch: int, step: int) -> ClassificationBatch:
        """Images by a seeded order of the epoch, changed by a seed of the step."""
        epoch += self.first_epoch
        epoch = self.distill.view(epoch) if self.distill else epoch
        order = torch.from_numpy(np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self.learned)))
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        how, rng = self.augmentation, np.random.default_rng([self.seed, _CHANGE, epoch, step])
        flips = flipped(how, len(self.learned), epoch, [self.seed, _FLIP])[chosen]
        codes = gather(self.learned.images, chosen, flips, how, rng)
        images = normalized(recolor(codes.float() / 255, how, rng), self.normalization)
        images, labels = cut_out(images, how, rng), self.learned.labels[chosen]
        if not how.mixup:
            return ClassificationBatch(images, labels)
        likely = functional.one_hot(labels, len(self.learned.classes)).float()
        return ClassificationBatch(*mix_up(images, likely, how, rng))

    def loss(self, network: nn.Module, batch: ClassificationBatch) -> Mapping[str, Tensor]:
        """Cross entropy, with the distance to the teacher's logits where there is one."""
        logits = network(batch.images).float()
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        if self.distill is None:
            return {"loss": loss}
        distance = self.distill.distance(logits, batch.images)
        mixed = torch.lerp(loss, distance, self.distill.weight)
        return {"loss": mixed, "cross_entropy": loss, "distill": distance}

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Share of the validation images whose label has the highest logit, "top1"."""
        if self.validation is None:
            return {}
        found = predict(network, self.validation, self.normalization, self.dtype)
        return {"top1": float((found == self.validation.labels).double().mean())}


def predict(
    network: nn.Module, images: ImageSet, normalization: Normalization, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The label int64 [n] that a network in evaluation mode gives to each image."""
    found = []
    with torch.no_grad(), autocast(dtype):
        for codes in torch.split(images.images, _EVALUATED_AT_ONCE):
            logits = network(normalized(codes.permute(0, 3, 1, 2).float() / 255, normalization))
            found.append(logits.float().argmax(1))
    return torch.cat(found)


def normalized(values: Tensor, normalization: Normalization) -> Tensor:
    """Values [n, C, H, W] of 0…1 as a network reads them."""
    mean, std = torch.tensor(normalization.mean), torch.tensor(normalization.std)
    return (values - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
