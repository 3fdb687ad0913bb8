"""Augmentation for detectors: mosaics of four photos, scale, translation, flip, color; boxes follow.

Mosaics: Bochkovskiy et al. 2020, "YOLOv4", section 3.3. One affine warp a photo does all of the geometry.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet_compression.data.augmentation_settings import DetectionAugmentation
from edgedet_compression.data.boxed_photos import BoxedPhoto, Boxes, Pixels

_FILL = (114, 114, 114)
_LEAST_SIDE = 2.0
_LEAST_VISIBLE = 0.2


def sample(
    photos: Sequence[BoxedPhoto], index: int, size: int, how: DetectionAugmentation, rng: np.random.Generator
) -> BoxedPhoto:
    """Photo `index`, or a mosaic of it and three others, as an input of `size` × `size` pixels."""
    canvas = np.full((size, size, 3), _FILL, np.uint8)
    if rng.random() >= how.mosaic:
        parts = [_place(canvas, photos[index], (0, 0, size, size), how, rng)]
    else:
        x, y = (int(size * rng.uniform(0.3, 0.7)) for _ in range(2))
        windows = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
        chosen = [index, *rng.integers(len(photos), size=3)]
        parts = [_place(canvas, photos[photo], window, how, rng) for photo, window in zip(chosen, windows, strict=True)]
    boxes = np.concatenate([boxes for boxes, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return BoxedPhoto(_recolored(canvas, how, rng), boxes, labels)


def _place(
    canvas: Pixels,
    photo: BoxedPhoto,
    window: tuple[int, int, int, int],
    how: DetectionAugmentation,
    rng: np.random.Generator,
) -> tuple[Boxes, NDArray[np.int64]]:
    """Warp a photo into a window of the canvas; its boxes there, but those that are hardly to be seen."""
    left, top, right, bottom = window
    height, width = photo.pixels.shape[:2]
    side = canvas.shape[0]
    scale = side / max(height, width) * float(np.exp(rng.uniform(-how.scale, how.scale)))
    signs = np.array([_sign(how.flip, rng), _sign(how.flip_vertical, rng)])
    shift = rng.uniform(-how.translation, how.translation, 2) * side
    middle = np.array([left + right, top + bottom]) / 2 + shift
    # Pixel centers: the photo's middle goes to the window's.
    linear = scale * signs
    offset = middle - linear * np.array([width, height]) / 2
    warp = np.array([[linear[0], 0, offset[0] - left], [0, linear[1], offset[1] - top]])
    warp[:, 2] += (linear - 1) * 0.5  # cv2 counts from the centers of pixels
    canvas[top:bottom, left:right] = cv2.warpAffine(
        photo.pixels, warp, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderValue=_FILL
    )
    corners = photo.boxes.reshape(-1, 2, 2) * linear + offset
    low, high = corners.min(axis=1), corners.max(axis=1)
    seen_low = np.clip(low, (left, top), (right, bottom))
    seen_high = np.clip(high, (left, top), (right, bottom))
    sides = seen_high - seen_low
    share = sides.prod(axis=1) / np.maximum((high - low).prod(axis=1), 1e-6)
    kept = (sides.min(axis=1, initial=np.inf) >= _LEAST_SIDE) & (share >= _LEAST_VISIBLE)
    return np.concatenate([seen_low, seen_high], axis=1)[kept].astype(np.float32), photo.labels[kept]


def _sign(allowed: bool, rng: np.random.Generator) -> float:
    return -1.0 if allowed and rng.random() < 0.5 else 1.0


def _recolored(pixels: Pixels, how: DetectionAugmentation, rng: np.random.Generator) -> Pixels:
    """Hue, saturation and brightness by one table each."""
    if not (how.hue or how.saturation or how.brightness):
        return pixels
    gains = 1 + rng.uniform(-1, 1, 3) * (how.hue, how.saturation, how.brightness)
    codes = np.arange(256)
    hue = ((codes * gains[0]) % 180).astype(np.uint8)
    others = [np.clip(codes * gain, 0, 255).astype(np.uint8) for gain in gains[1:]]
    channels = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    changed = [cv2.LUT(channel, table) for channel, table in zip(channels, (hue, *others), strict=True)]
    return np.asarray(cv2.cvtColor(cv2.merge(changed), cv2.COLOR_HSV2RGB), np.uint8)
