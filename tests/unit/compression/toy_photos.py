"""Photos of two kinds that are easy to tell apart."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_shapes(folder: Path, seed: int = 0) -> None:
    """A folder for each of the splits train (16 photos a class) and test (6): dark noise with a square, or stripes."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 16), ("test", 6)):
        for label in ("square", "stripes"):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
                if label == "square":
                    pixels[8:24, 8:24] += 150
                else:
                    pixels[::4] += 150
                Image.fromarray(pixels).save(place / f"{number}.png")
