"""Photo to network input: resize by one fixed rule, and the geometry that takes boxes back to the photo."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import Photo

_FILTERS = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the resized photo lies inside the network's input; all in pixels."""

    photo_width: int
    photo_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int

    def to_photo(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [n, 4] (x1, y1, x2, y2) from input pixels to photo pixels, clipped to the photo."""
        scale_x = np.float32(self.photo_width / self.resized_width)
        scale_y = np.float32(self.photo_height / self.resized_height)
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        limit = np.array([self.photo_width, self.photo_height] * 2, np.float32)
        return np.asarray(np.clip((boxes - offset) * scale, np.float32(0), limit), np.float32)


def geometry_of(width: int, height: int, spec: InputSpec) -> Geometry:
    """The geometry for a photo of `width` × `height` pixels (upright)."""
    if spec.resize == "plain":
        return Geometry(width, height, spec.width, spec.height, 0, 0)
    scale = min(spec.width / width, spec.height / height)
    resized_width = max(1, round(width * scale))
    resized_height = max(1, round(height * scale))
    left, top = (spec.width - resized_width) // 2, (spec.height - resized_height) // 2
    return Geometry(width, height, resized_width, resized_height, left, top)


def to_input(photo: Photo, spec: InputSpec) -> tuple[NDArray[np.uint8], Geometry]:
    """The network's input uint8 [1, height, width, channels] and its geometry."""
    geometry = geometry_of(photo.width, photo.height, spec)
    canvas = np.empty((spec.height, spec.width, 4), np.uint8)
    bottom, right = geometry.top + geometry.resized_height, geometry.left + geometry.resized_width
    gray = (spec.fill, spec.fill, spec.fill, 255)
    canvas[: geometry.top] = gray
    canvas[bottom:] = gray
    canvas[geometry.top : bottom, : geometry.left] = gray
    canvas[geometry.top : bottom, right:] = gray
    view = canvas[geometry.top : bottom, geometry.left : right]
    size = (geometry.resized_width, geometry.resized_height)
    if size == (photo.width, photo.height):
        view[:] = photo.pixels
    else:
        # OpenCV's area filter repeats pixels where it enlarges.
        shrinks = size[0] <= photo.width and size[1] <= photo.height
        chosen = _FILTERS[spec.filter] if shrinks else cv2.INTER_LINEAR
        cv2.resize(photo.pixels, size, dst=view, interpolation=chosen)
    return _channels(canvas, spec.channels)[np.newaxis], geometry


def _channels(canvas: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if channels == 4:
        return canvas
    if channels == 3:
        return np.ascontiguousarray(canvas[:, :, :3])
    return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGBA2GRAY), np.uint8)[:, :, np.newaxis]
