"""Distillation of detectors: a student's head maps follow those of its teacher.

Where strides are the same, both predict the same boxes of the same anchors. Objectness and classes follow the teacher's
probabilities by binary cross entropy; box terms follow by squared distance, weighted by the teacher's objectness, so
that cells without an object teach no box (Chen et al. 2017, "Learning efficient object detection models with
knowledge distillation", weigh the background down for the same reason; Mehta & Ozturk 2018 scale by objectness).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule, YoloHead
from edgedet_compression.training.precision import autocast
from edgedet_compression.training.yolo_loss import YoloLoss, objectness_share


@dataclass(frozen=True)
class TeacherHeads:
    """A teacher in evaluation mode; `weight` scales the distance, `dtype` that of its forward pass."""

    teacher: DarknetModule
    weight: float = 1.0
    dtype: torch.dtype = torch.float32

    def __call__(self, maps: Sequence[Tensor], heads: Sequence[YoloHead], images: Tensor) -> Tensor:
        """Distance of a student's raw maps to the teacher's on the same images, times the number of photos.

        Raises:
            BuildRefused: the teacher lacks one of the student's `heads`.
        """
        for head in heads:
            self._check(head)
        with torch.no_grad(), autocast(self.dtype):
            taught = {
                head.stride: raw.float() for head, raw in zip(self.teacher.heads, self.teacher(images), strict=True)
            }
        total = maps[0].new_zeros((), dtype=torch.float32)
        for head, raw in zip(heads, maps, strict=True):
            total = total + head_distance(raw.float(), taught[head.stride], head)
        return self.weight * total * images.shape[0]

    def _check(self, head: YoloHead) -> None:
        """Maps of other anchors have the same shape, and would teach wrong sizes."""
        like = next((own for own in self.teacher.heads if own.stride == head.stride), None)
        if like is None or (like.anchors, like.classes) != (head.anchors, head.classes):
            raise BuildRefused(
                f"distillation.teacher: the student's head of stride {head.stride} has {_told(head)}, the teacher's "
                f"{_told(like) if like else 'is missing'}: take a teacher of the same family, size, anchors and labels"
            )


def _told(head: YoloHead) -> str:
    return f"anchors {' '.join(f'{w:g},{h:g}' for w, h in head.anchors)} and {head.classes} classes"


def head_distance(student: Tensor, teacher: Tensor, head: YoloHead) -> Tensor:
    """The distance of two raw maps [n, anchors·(5 + classes), rows, columns] of the same head.

    Its parts weigh as those of `YoloLoss` do.
    """
    photos, _, rows, columns = student.shape
    shape = (photos, len(head.anchors), 5 + head.classes, rows, columns)
    own, wanted = (values.view(shape).permute(0, 1, 3, 4, 2) for values in (student, teacher))
    likely = wanted[..., 4].sigmoid()
    objectness = functional.binary_cross_entropy_with_logits(own[..., 4], likely)
    mass = likely.sum() + 1e-6
    each = functional.binary_cross_entropy_with_logits(own[..., 5:], wanted[..., 5:].sigmoid(), reduction="none")
    classes = (each.mean(-1) * likely).sum() / mass
    offsets = (own[..., :2].sigmoid() - wanted[..., :2].sigmoid()).square().sum(-1)
    sizes = (own[..., 2:4] - wanted[..., 2:4]).square().sum(-1)
    boxes = ((offsets + sizes) * likely).sum() / mass
    parts = YoloLoss()
    return parts.objectness * objectness_share(head, rows) * objectness + parts.classes * classes + parts.box * boxes
