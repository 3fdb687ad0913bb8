"""Normal numbers of read noise, keyed by photo, layer and chip: an answer depends on nothing else.

Draws are 16-bit words of SFC64 looked up in a table of the normal distribution's quantiles: about five times as fast
as exact draws; |z| ends at 4.3, the spread is 1 and the kurtosis 2.999.
"""

import hashlib
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_WORDS = 1 << 16


def normal_numbers(photo_key: bytes, layer: str, chip: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers of one layer's conversions for one photo on one chip."""
    key = hashlib.blake2b(photo_key, digest_size=16, key=str(chip).encode(), person=b"read noise")
    key.update(b"|" + layer.encode())
    bits = np.random.SFC64(int.from_bytes(key.digest(), "little"))
    count = int(np.prod(shape))
    words = bits.random_raw((count + 3) // 4).view(np.uint16)[:count]
    numbers: NDArray[np.float32] = np.take(_quantiles(), words, mode="wrap").reshape(shape)
    return numbers


def network_noise(photo_key: bytes, chip: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Normal numbers of every noisy layer."""
    return {layer: normal_numbers(photo_key, layer, chip, shape) for layer, shape in shapes.items()}


@cache
def _quantiles() -> NDArray[np.float32]:
    """The normal quantiles of 65,536 equal shares, scaled to a standard deviation of 1."""
    exact = ndtri((np.arange(_WORDS) + 0.5) / _WORDS)
    scaled: NDArray[np.float32] = (exact / exact.std()).astype(np.float32)
    return scaled
