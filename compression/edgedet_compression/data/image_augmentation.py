"""Augmentation of whole batches of small images: flip, translation, color, cutout, mixup.

One gather out of the uint8 tensor of all images picks the batch, flips and translates it. Its result has the channels
last in memory, as convolutions like them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgedet_compression.data.augmentation_settings import ImageAugmentation

# Luma of ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def flipped(how: ImageAugmentation, count: int, epoch: int, seed: Sequence[int]) -> Tensor:
    """Which of `count` images an epoch shows mirrored, bool [count]."""
    if how.flip == "none":
        return torch.zeros(count, dtype=torch.bool)
    stream = [*seed, epoch] if how.flip == "random" else seed
    coins = torch.from_numpy(np.random.default_rng(stream).random(count) < 0.5)
    return coins ^ bool(epoch % 2) if how.flip == "alternating" else coins


def gather(images: Tensor, chosen: Tensor, flips: Tensor, how: ImageAugmentation, rng: np.random.Generator) -> Tensor:
    """Images `chosen` [n] of uint8 [N, H, W, C], mirrored where `flips` [n] says so and moved; uint8 [n, C, H, W]."""
    height, width = images.shape[1:3]
    shifts = torch.from_numpy(rng.integers(-how.translate, how.translate, (2, len(chosen)), endpoint=True))
    rows = torch.arange(height) + shifts[0, :, None]
    columns = torch.arange(width) + shifts[1, :, None]
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    found = images[chosen[:, None, None], _inside(rows, height)[:, :, None], _inside(columns, width)[:, None, :]]
    if how.pad == "zero" and how.translate:
        beyond = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
        found[beyond] = 0
    return found.permute(0, 3, 1, 2)


def recolor(images: Tensor, how: ImageAugmentation, rng: np.random.Generator) -> Tensor:
    """Images float [n, C, H, W] of values 0…1, each with its own brightness, contrast and saturation.

    Brightness scales all values, contrast their distance to the image's mean, saturation that to the pixel's luma.
    """
    if not (how.brightness or how.contrast or how.saturation):
        return images
    reach = np.array([how.brightness, how.contrast, how.saturation])[:, None]
    gains = torch.from_numpy((1 + reach * rng.uniform(-1, 1, (3, len(images)))).astype(np.float32))
    bright, contrasted, saturated = gains[:, :, None, None, None]
    images = images * bright
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrasted)
    if images.shape[1] == 3:
        luma = (images * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        images = torch.lerp(luma, images, saturated)
    return images.clamp_(0, 1)


def cut_out(images: Tensor, how: ImageAugmentation, rng: np.random.Generator) -> Tensor:
    """Normalized images float [n, C, H, W] with a square of zeros, their mean color, in each."""
    if not how.cutout:
        return images
    height, width = images.shape[2:]
    centers = torch.from_numpy(rng.integers((height, width), size=(len(images), 2)))
    rows, columns = (
        _covered(torch.arange(side), centers[:, axis, None], how.cutout) for axis, side in enumerate((height, width))
    )
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def mix_up(images: Tensor, likely: Tensor, how: ImageAugmentation, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images float [n, C, H, W] and their probabilities of labels [n, classes], some mixed with the next of the batch.

    x = λ·x_i + (1 - λ)·x_j, p = λ·p_i + (1 - λ)·p_j, each image with a λ of its own, uniform in 0…1: Beta(α, α) of α =
    1 (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization").
    """
    mixed = rng.random(len(images)) < how.mixup
    own = torch.from_numpy(np.where(mixed, rng.random(len(images)), 1.0).astype(np.float32))
    return (
        torch.lerp(images.roll(-1, 0), images, own[:, None, None, None]),
        torch.lerp(likely.roll(-1, 0), likely, own[:, None]),
    )


def _inside(places: Tensor, side: int) -> Tensor:
    """Places beyond an edge reflected into 0 … side - 1; the edge itself is not repeated."""
    period = max(1, 2 * side - 2)
    places = places.abs() % period
    return torch.minimum(places, period - places)


def _covered(places: Tensor, center: Tensor, side: int) -> Tensor:
    first = center - side // 2
    return (places >= first) & (places < first + side)
