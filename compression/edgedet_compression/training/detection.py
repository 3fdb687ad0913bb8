"""Detection as a task: augmented photos in, YOLO loss, mean average precision on the validation split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from edgedet_evaluation.coco import CocoDataset
from edgedet_evaluation.mean_average_precision import THRESHOLDS, DetectionScore, score_detections
from edgedet_runtime.detection import Detections
from edgedet_runtime.letterbox import Geometry, to_input
from edgedet_runtime.manifest import InputSpec
from numpy.typing import NDArray
from torch import Tensor, nn

from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import BoxedPhoto, decoded
from edgedet_compression.data.detection_augmentation import sample
from edgedet_compression.distillation.teacher_heads import TeacherHeads
from edgedet_compression.float_baseline import decode_yolo
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.training.yolo_loss import YoloLoss

# Purposes of random streams; a number of its own for each keeps them apart.
_ORDER, _CHANGE = 1, 2


@dataclass(frozen=True)
class DetectionBatch:
    """Images float [n, 3, H, W] of values 0…1; targets float [m, 6]: photo, label, center x, y, width, height."""

    images: Tensor
    targets: Tensor


@dataclass(frozen=True)
class PreparedPhotos:
    """Photos as the runtime makes inputs of them for a package, uint8 [1, H, W, 3], and the boxes to be found."""

    dataset: CocoDataset
    category_ids: list[int]
    inputs: list[NDArray[np.uint8]]
    geometries: list[Geometry]

    @classmethod
    def read(cls, dataset: CocoDataset, labels: Sequence[str], size: int) -> "PreparedPhotos":
        """Decode and letterbox all photos; they are shrunk as `load_boxed_photos` does."""
        spec = InputSpec(name="image", height=size, width=size, channels=3, filter="area")
        made = [to_input(decoded(photo.file), spec) for photo in dataset.photos]
        inputs, geometries = [tensor for tensor, _ in made], [geometry for _, geometry in made]
        return cls(dataset, dataset.category_ids(labels), inputs, geometries)


@dataclass(frozen=True)
class DetectionTask:
    """Learns `photos`; an epoch shows each once, or leads a mosaic by it."""

    photos: Sequence[BoxedPhoto]
    validation: PreparedPhotos | None
    """None where all photos are learned."""
    batch_size: int
    size: int
    seed: int
    augmentation: DetectionAugmentation = field(default_factory=DetectionAugmentation)
    epochs: int = 0
    """Of the whole training."""
    criterion: YoloLoss = field(default_factory=YoloLoss)
    distill: TeacherHeads | None = None
    """A teacher to follow beside the labels."""
    first_epoch: int = 0
    """Epochs that trainings before this one have shown: it goes on with other orders and changes."""

    @property
    def steps(self) -> int:
        """Batches of an epoch; what does not fill a batch waits for another epoch's order."""
        return max(1, len(self.photos) // self.batch_size)

    def batch(self, epoch: int, step: int) -> DetectionBatch:
        """Photos by a seeded order of the epoch, each changed by a seed of its own."""
        shown = self.first_epoch + epoch
        order = np.random.default_rng([self.seed, _ORDER, shown]).permutation(len(self.photos))
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        how = self.augmentation
        if epoch >= self.epochs - how.plain_epochs:
            how = replace(how, mosaic=0.0)
        made = [
            sample(
                self.photos, int(index), self.size, how, np.random.default_rng([self.seed, _CHANGE, shown, int(index)])
            )
            for index in chosen
        ]
        return as_batch(made)

    def loss(self, network: nn.Module, batch: DetectionBatch) -> Mapping[str, Tensor]:
        """YOLO loss, with the distance to the teacher's heads where there is one."""
        assert isinstance(network, DarknetModule)
        maps = network(batch.images)
        parts = self.criterion(maps, network.heads, batch.targets)
        if self.distill is not None:
            parts["distill"] = self.distill(maps, network.heads, batch.images)
            parts["loss"] = parts["loss"] + parts["distill"]
        return parts

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """mAP50 and mAP50-95 on the validation photos."""
        assert isinstance(network, DarknetModule)
        if self.validation is None:
            return {}
        score = score_network(network, self.validation)
        return {"mAP50": round(score.map50, 5), "mAP50-95": round(score.map50_95, 5)}


def as_batch(samples: Sequence[BoxedPhoto]) -> DetectionBatch:
    """Photos of one size as tensors."""
    pixels = torch.from_numpy(np.stack([photo.pixels for photo in samples]))
    images = (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
    targets = np.concatenate([_targets(place, photo) for place, photo in enumerate(samples)])
    return DetectionBatch(images, torch.from_numpy(targets))


def _targets(place: int, photo: BoxedPhoto) -> NDArray[np.float32]:
    low, high = photo.boxes[:, :2], photo.boxes[:, 2:]
    columns = [np.full(len(photo.labels), place), photo.labels, (low + high) / 2, high - low]
    return np.column_stack(columns).astype(np.float32)


def detect(network: DarknetModule, codes: NDArray[np.uint8], geometry: Geometry) -> Detections:
    """Detections in photo pixels of one input uint8 [1, H, W, 3]."""
    image = torch.from_numpy(codes).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        maps = [raw.float().numpy() for raw in network(image.contiguous(memory_format=torch.channels_last))]
    anchors = tuple(head.anchors for head in network.heads)
    found = decode_yolo(maps, anchors, codes.shape[1], THRESHOLDS)
    return replace(found, boxes=geometry.to_photo(found.boxes))


def detect_all(network: DarknetModule, photos: PreparedPhotos) -> list[Detections]:
    """Answers of a network in evaluation mode to all photos."""
    return [detect(network, *pair) for pair in zip(photos.inputs, photos.geometries, strict=True)]


def score_network(network: DarknetModule, validation: PreparedPhotos) -> DetectionScore:
    """These answers against the boxes of all validation photos."""
    return score_detections(validation.dataset, detect_all(network, validation), validation.category_ids)
