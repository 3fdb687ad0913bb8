"""The image as a low-bit network reads it: 8-bit codes with one scale and one zero point for all channels.

Data sets hand out normalized images, (pixel/255 - mean)/std channel by channel; a first layer of 4-bit weights has no
room for a factor of each channel. So the pixels are taken back, and the network reads x = scale·(pixel - zero point)
with the mean of the stds and the code nearest to the mean of the means: what packages feed, bit for bit.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgedet_compression.quantization.input_stem import MAX_CODE


class ImageCodes(nn.Module):
    """Normalized images [n, C, H, W] to centered codes pixel - zero point, whole numbers in float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        self.zero_point = round(MAX_CODE * sum(mean) / len(mean))
        self.scale = float(np.float32(len(std) / (MAX_CODE * sum(std))))

    def forward(self, images: Tensor) -> Tensor:
        """Values between two pixels' (an augmentation makes them) go to the nearer one."""
        pixels = ((images.float() * self.std + self.mean) * MAX_CODE).round_().clamp_(0, MAX_CODE)
        return pixels - self.zero_point

    def take_in(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [out, C, …] of normalized images to those of x, and what a sum loses by it [out].

        At the image's rim the padding is then the zero point instead of each channel's mean.
        """
        offset = (weight * ((self.zero_point / MAX_CODE - self.mean) / self.std)).sum(dim=(1, 2, 3))
        return weight / (self.std * self.scale * MAX_CODE), offset
