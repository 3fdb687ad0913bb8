"""A package at work on a data set: every photo through the segment chain, as an edge node would run it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from edgedet_runtime.answer import Answer, Choices, Finisher
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package
from edgedet_runtime.photo import Photo, decode_photo
from numpy.typing import NDArray

from edgedet_evaluation.errors import DataUnreadable


@dataclass(frozen=True, slots=True)
class Answerer:
    """A package's chain and its decoding."""

    chain: Chain
    finisher: Finisher

    @classmethod
    def load(cls, package: Package, backend: str = "onnxruntime") -> Self:
        """Prepare the chain on a backend by its registered name."""
        return cls(prepare_chain(package, load_backend(backend)), Finisher.load(package))

    def __call__(self, photo: Photo, choices: Choices) -> Answer:
        """Detections in photo pixels, or classes."""
        tensor, geometry = to_input(photo, self.chain.manifest.input)
        return self.finisher.finish(self.chain.run_input(tensor), geometry, choices)


def read_photos(files: Iterable[Path]) -> Iterable[Photo]:
    """Decode files one at a time.

    Raises:
        DataUnreadable: one that cannot be decoded, by name, when its turn comes.
    """
    return map(_read_photo, files)


def _read_photo(path: Path) -> Photo:
    try:
        return decode_photo(path.read_bytes())
    except PhotoRefused as error:
        raise DataUnreadable(f"{path}: {error}; replace it or take it away") from error


def as_photo(image: NDArray[np.uint8]) -> Photo:
    """An RGB image uint8 [height, width, 3] as the codec would give it."""
    pixels = np.full((*image.shape[:2], 4), 255, np.uint8)
    pixels[:, :, :3] = image
    return Photo(pixels)
