"""Boxes drawn on a photo, answered as a JPEG."""

import colorsys
from collections.abc import Sequence

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgedet_runtime.detection import Detections
from edgedet_runtime.photo import Photo

_JPEG_QUALITY = 90
LARGEST_SIDE = 65_500
"""Of a JPEG (libjpeg), in pixels."""


def draw_detections(photo: Photo, detections: Detections, labels: Sequence[str]) -> bytes:
    """The photo as JPEG with a box, label and score per detection; boxes in photo pixels."""
    image = Image.fromarray(np.ascontiguousarray(photo.pixels[:, :, :3]))
    canvas = ImageDraw.Draw(image)
    thickness = max(2, round(min(image.size) / 250))
    font = ImageFont.load_default(size=max(11, round(min(image.size) / 32)))
    for index in reversed(range(len(detections))):  # the best box is drawn last, on top
        label = int(detections.labels[index])
        color = _color(label)
        x1, y1, x2, y2 = (float(value) for value in detections.boxes[index])
        canvas.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=thickness)
        text = f"{labels[label]} {float(detections.scores[index]):.2f}"
        left, top, right, bottom = canvas.textbbox((x1, y1), text, font=font)
        lift = min(bottom - top + 4, y1)
        canvas.rectangle((left, top - lift, right + 4, bottom - lift + 2), fill=color)
        canvas.text((x1 + 2, y1 - lift), text, fill="black", font=font)
    pixels: NDArray[np.uint8] = np.asarray(image)
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY, "RGB")
    return encoded


def _color(label: int) -> tuple[int, int, int]:
    """A light color per label; the golden ratio spreads neighbors over the hues."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.65, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
