"""The loss of YOLOv3-like detectors.

Boxes decode as in Redmon & Farhadi 2018, section 2.1: center = (σ(t_xy) + cell)·stride, size = anchor·exp(t_wh). A
ground-truth box is learned at the cell of its center by every anchor, at every head, whose sides differ from its own by
less than a factor of four (Jocher 2020, YOLOv5), and where there is none by the nearest; the box by CIoU (Zheng et al.
2020, equation 10), the objectness by binary cross entropy against the CIoU reached, the classes by binary cross
entropy. Anchors that nobody assigned but that overlap a box well are not told that they are wrong (YOLOv3: the ignore
threshold).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgedet_compression.networks.darknet_module import YoloHead

_MOST_RATIO = 4.0
_LARGEST_EXPONENT = 8.0
_IGNORED_IOU = 0.7
_TUNED_AT = 256
"""Input side at which the weights were chosen: the mean over cells shrinks as cells, mostly empty, become more."""
_FINEST_FIRST = (4.0, 1.0, 0.4)
"""Weights of the objectness of strides 8, 16, 32: finer maps have more cells, mostly empty."""


@dataclass(frozen=True)
class YoloLoss:
    """Weights of the three parts; `label_smoothing` softens the classes.

    With these, an anchor that learns a box weighs about the same in all three parts, as in the sums of Darknet's own
    loss, and objectness a few times more. YOLOv5's (0.05, 1, 0.5 at 640 pixels) suit hundreds of epochs: in 8 epochs
    on BCCD, YOLOv3-tiny reaches mAP50 0.33 with them; 0.50, 0.61 with 0.5, 1, 1 and 0.5, 3, 1 here.
    """

    box: float = 0.5
    objectness: float = 8.0
    classes: float = 1.0
    label_smoothing: float = 0.0

    def __call__(self, maps: Sequence[Tensor], heads: Sequence[YoloHead], targets: Tensor) -> dict[str, Tensor]:
        """Parts and their sum times the number of photos.

        `maps` are raw, [n, anchors·(5 + classes), rows, columns]; `targets` float [m, 6]: photo, label, then center x,
        center y, width, height in input pixels.
        """
        photos = maps[0].shape[0]
        zero = maps[0].new_zeros((), dtype=torch.float32)
        sums = {"box": zero, "objectness": zero, "classes": zero}
        for raw, head, learns in zip(maps, heads, _learners(heads, targets), strict=True):
            for name, part in self._head(raw.float(), head, targets, learns).items():
                sums[name] = sums[name] + part
        parts = {
            "box": self.box * sums["box"],
            "objectness": self.objectness * sums["objectness"],
            "classes": self.classes * sums["classes"],
        }
        return {"loss": sum(parts.values(), zero) * photos, **parts}

    def _head(self, raw: Tensor, head: YoloHead, targets: Tensor, learns: Tensor) -> dict[str, Tensor]:
        photos, _, rows, columns = raw.shape
        grid = raw.view(photos, len(head.anchors), 5 + head.classes, rows, columns).permute(0, 1, 3, 4, 2)
        place, boxes, labels = _places(head, targets, learns, rows, columns)
        wanted = raw.new_zeros(grid.shape[:4])
        told = _not_ignored(grid.detach(), head, targets)
        parts: dict[str, Tensor] = {}
        if len(labels):
            found = grid[place]
            predicted = _decode(found, place, head)
            overlap = complete_iou(predicted, boxes)
            parts["box"] = (1.0 - overlap).mean()
            wanted[place] = overlap.detach().clamp(0)
            told[place] = 1.0
            off, on = self.label_smoothing / 2, 1.0 - self.label_smoothing / 2
            classes = torch.full_like(found[:, 5:], off)
            classes[torch.arange(len(labels)), labels] = on
            parts["classes"] = functional.binary_cross_entropy_with_logits(found[:, 5:], classes)
        each = functional.binary_cross_entropy_with_logits(grid[..., 4], wanted, reduction="none")
        parts["objectness"] = (each * told).mean() * objectness_share(head, rows)
        return parts


def objectness_share(head: YoloHead, rows: int) -> float:
    """What a head's mean over cells counts: more where there are more of them, of finer maps and larger inputs."""
    place = int(math.log2(head.stride)) - 3
    return _FINEST_FIRST[min(max(place, 0), 2)] * (rows * head.stride / _TUNED_AT) ** 2


def complete_iou(one: Tensor, other: Tensor) -> Tensor:
    """CIoU of boxes [n, 4] (center x, center y, width, height), pair by pair.

    CIoU = IoU - ρ²/c² - α·v with v = 4/π²·(atan w'/h' - atan w/h)², α = v / (1 - IoU + v) held fixed.
    """
    low, high = _corners(one), _corners(other)
    inner = (torch.minimum(low[1], high[1]) - torch.maximum(low[0], high[0])).clamp(0).prod(-1)
    union = one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - inner + 1e-7
    iou = inner / union
    hull = torch.maximum(low[1], high[1]) - torch.minimum(low[0], high[0])
    diagonal = hull.square().sum(-1) + 1e-7
    distance = (one[..., :2] - other[..., :2]).square().sum(-1)
    angles = [torch.atan(box[..., 2] / (box[..., 3] + 1e-7)) for box in (one, other)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    with torch.no_grad():
        alpha = v / (1 - iou + v + 1e-7)
    return iou - distance / diagonal - alpha * v


def _learners(heads: Sequence[YoloHead], targets: Tensor) -> Sequence[Tensor]:
    """Of each head, bool [anchors, m]: which anchors learn which boxes."""
    anchors = targets.new_tensor([anchor for head in heads for anchor in head.anchors])
    ratio = targets[None, :, 4:6] / anchors[:, None]
    worst = torch.maximum(ratio, 1 / ratio).amax(-1)
    learns = (worst < _MOST_RATIO) | (worst == worst.amin(0))
    return torch.split(learns, [len(head.anchors) for head in heads])


def _places(
    head: YoloHead, targets: Tensor, learns: Tensor, rows: int, columns: int
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Where boxes are learned (photo, anchor, row, column), the boxes there in pixels, and their labels."""
    anchor, box = learns.nonzero(as_tuple=True)
    chosen = targets[box]
    column = (chosen[:, 2] / head.stride).long().clamp(0, columns - 1)
    row = (chosen[:, 3] / head.stride).long().clamp(0, rows - 1)
    return (chosen[:, 0].long(), anchor, row, column), chosen[:, 2:6], chosen[:, 1].long()


def _decode(found: Tensor, place: tuple[Tensor, Tensor, Tensor, Tensor], head: YoloHead) -> Tensor:
    """Boxes [n, 4] in pixels of raw values [n, 5 + classes] at these places."""
    _, anchor, row, column = place
    cell = torch.stack([column, row], dim=1)
    center = (found[:, :2].sigmoid() + cell) * head.stride
    size = found[:, 2:4].clamp(max=_LARGEST_EXPONENT).exp() * found.new_tensor(head.anchors)[anchor]
    return torch.cat([center, size], dim=1)


def _not_ignored(grid: Tensor, head: YoloHead, targets: Tensor) -> Tensor:
    """1 where an anchor may be told that it is wrong: it overlaps no box of its photo well."""
    photos, anchors, rows, columns, _ = grid.shape
    place = torch.meshgrid(*(torch.arange(n) for n in (photos, anchors, rows, columns)), indexing="ij")
    flat = (place[0].reshape(-1), place[1].reshape(-1), place[2].reshape(-1), place[3].reshape(-1))
    boxes = _decode(grid.reshape(-1, grid.shape[-1]), flat, head).view(photos, -1, 4)
    told = torch.ones(photos, anchors * rows * columns)
    for photo in range(photos):
        own = targets[targets[:, 0] == photo, 2:6]
        if len(own):
            told[photo] = (_pairwise_iou(boxes[photo], own).amax(1) < _IGNORED_IOU).float()
    return told.view(photos, anchors, rows, columns)


def _pairwise_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU [n, m] of boxes [n, 4] and [m, 4]."""
    low, high = _corners(one[:, None]), _corners(other[None])
    inner = (torch.minimum(low[1], high[1]) - torch.maximum(low[0], high[0])).clamp(0).prod(-1)
    return inner / (one[:, None, 2:].prod(-1) + other[None, :, 2:].prod(-1) - inner + 1e-7)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    half = boxes[..., 2:] / 2
    return boxes[..., :2] - half, boxes[..., :2] + half
