"""Photos with boxes as training reads them: decoded once, shrunk to the network's size, kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from edgedet_evaluation.coco import CocoDataset, is_object
from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.photo import Photo, decode_photo
from numpy.typing import NDArray

from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.progress import Progress, silent

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class BoxedPhoto:
    """Pixels uint8 [height, width, 3] RGB, boxes float32 [n, 4] (x1, y1, x2, y2) in them, labels int64 [n]."""

    pixels: Pixels
    boxes: Boxes
    labels: NDArray[np.int64]


def load_boxed_photos(
    dataset: CocoDataset, labels: Sequence[str], size: int, progress: Progress = silent
) -> list[BoxedPhoto]:
    """All photos of a data set, the longer side shrunk to `size`; crowds and difficult objects are left out.

    Boxes are cut at the photo's edges, as a network's answers are; those with no area in the photo are left out, too.

    Raises:
        SourceUnreadable: a photo that cannot be decoded, by name.
        DataMismatch: a label that is no category of the data set.
    """
    place = {category: label for label, category in enumerate(dataset.category_ids(labels))}
    found: dict[int, list[tuple[int, list[float]]]] = {photo.id: [] for photo in dataset.photos}
    for item in dataset.content["annotations"]:
        if item["category_id"] in place and is_object(item):
            x, y, width, height = item["bbox"]
            found[item["image_id"]].append((place[item["category_id"]], [x, y, x + width, y + height]))
    photos = []
    advance = progress(f"reading {dataset.name}: {sum(map(len, found.values()))} boxes", len(dataset.photos))
    for photo in dataset.photos:
        pixels = decoded(photo.file).pixels[:, :, :3]
        boxes, numbers = _cut(found[photo.id], pixels.shape[1], pixels.shape[0])
        scale = min(1.0, size / max(pixels.shape[:2]))
        if scale < 1.0:
            shape = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            boxes = boxes * np.array([shape[0] / pixels.shape[1], shape[1] / pixels.shape[0]] * 2, np.float32)
            pixels = np.asarray(cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA), np.uint8)
        photos.append(BoxedPhoto(np.ascontiguousarray(pixels), boxes, numbers))
        advance()
    return photos


def _cut(found: Sequence[tuple[int, list[float]]], width: int, height: int) -> tuple[Boxes, NDArray[np.int64]]:
    """What a photo of `width` x `height` pixels shows of boxes, and their labels."""
    boxes = np.array([box for _, box in found], np.float32).reshape(-1, 4)
    labels = np.array([label for label, _ in found], np.int64)
    boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
    seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return boxes[seen], labels[seen]


def decoded(file: Path) -> Photo:
    """A photo's pixels.

    Raises:
        SourceUnreadable: it cannot be decoded; the message names the file.
    """
    try:
        return decode_photo(file.read_bytes())
    except PhotoRefused as error:
        raise SourceUnreadable(f"{file}: {error}; replace it or take it away") from error
