"""Photos of a folder as the network's inputs, for calibration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edgedet_evaluation.labeled_folders import PHOTO_SUFFIXES
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import decode_photo

from edgedet_compression.errors import SourceMissing


def photo_files(folder: Path) -> list[Path]:
    """The JPEG and PNG files of a folder, by name.

    Raises:
        SourceMissing: there is none.
    """
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise SourceMissing(f"no .jpg or .png photo in {folder}")
    return found


def read_inputs(files: Sequence[Path], source: InputSpec) -> list[npt.NDArray[np.uint8]]:
    """Decode photos and bring them to the network's input uint8 [1, H, W, C]."""
    return [to_input(decode_photo(path.read_bytes()), source)[0] for path in files]
