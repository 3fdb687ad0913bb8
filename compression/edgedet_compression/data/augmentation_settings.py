"""How far a recipe lets training images be changed; what is not given has its default here.

Without torch and OpenCV, as recipes are read and checked before them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class ImageAugmentation:
    """Of the small images of classifiers."""

    flip: Literal["none", "random", "alternating"] = "alternating"
    """Left and right. Alternating: half of the images in the first epoch, then each in every other (Jordan 2024,
    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"), so that two epochs show both sides of all."""
    translate: Annotated[int, Field(ge=0)] = 4
    """Greatest shift, in pixels, in both directions."""
    pad: Literal["reflect", "zero"] = "reflect"
    """What is moved in from beyond the edge: the image's reflection, or black."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side of a square of the data set's mean color, its center anywhere (DeVries & Taylor 2017); 0: none."""
    brightness: _Share = 0.0
    contrast: _Share = 0.0
    saturation: _Share = 0.0
    """Greatest relative changes, 0…1."""
    mixup: _Share = 0.0
    """Share of the images, 0…1, that another one shines through: for a student, images whose answers its teacher has
    not learned by heart."""


@dataclass(frozen=True)
class DetectionAugmentation:
    """Of the photos of detectors, and their boxes."""

    mosaic: _Share = 0.5
    """Share of samples that are mosaics."""
    scale: _Share = 0.4
    """Photos are scaled by exp of up to this, up or down; 1: from 0.37 to 2.7 times."""
    translation: _Share = 0.1
    """Share of the input's side."""
    flip: bool = True
    """Left and right."""
    flip_vertical: bool = False
    """Top and bottom: where photos have no up."""
    hue: _Share = 0.015
    saturation: _Share = 0.5
    brightness: _Share = 0.3
    """Greatest relative changes, 0…1."""
    plain_epochs: Annotated[int, Field(ge=0)] = 0
    """Last epochs without mosaics, so that training ends on photos as they are."""
