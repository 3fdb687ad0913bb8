"""Normal numbers of read noise, keyed by photo, layer and chip: an answer depends on nothing else."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgedet_nvm.device.normal_draws import keyed_bits, normal_draws


def normal_numbers(photo_key: bytes, layer: str, chip: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers of one layer's conversions for one photo on one chip."""
    key = b"read noise|%d|%d|" % (chip, len(photo_key)) + photo_key + layer.encode()
    return normal_draws(keyed_bits(key), shape)


def network_noise(photo_key: bytes, chip: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Normal numbers of every noisy layer."""
    return {layer: normal_numbers(photo_key, layer, chip, shape) for layer, shape in shapes.items()}
