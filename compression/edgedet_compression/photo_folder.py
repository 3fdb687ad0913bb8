"""Photos of a folder as the network's inputs, for calibration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from edgedet_evaluation.labeled_folders import is_photo
from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import decode_photo

from edgedet_compression.errors import SourceMissing, SourceUnreadable

_MOST = 500
"""Each is held in memory as bytes and as float32: 500 of 640 x 640 pixels take 4 GB."""


def photo_files(folder: Path) -> list[Path]:
    """The JPEG and PNG files of a folder, by name; of more than 500 as many, evenly spread.

    Raises:
        SourceMissing: no such folder, or none in it.
    """
    wanted = "some 50 to 500 photos (.jpg or .png) like those the network will see belong directly into it"
    if not folder.is_dir():
        raise SourceMissing(f"{folder} is no folder of calibration photos: {wanted}")
    found = sorted(filter(is_photo, folder.glob("*")))
    if not found:
        raise SourceMissing(f"no .jpg or .png photo in {folder}: {wanted}")
    return [found[place * len(found) // _MOST] for place in range(_MOST)] if len(found) > _MOST else found


def read_inputs(files: Sequence[Path], source: InputSpec) -> list[npt.NDArray[np.uint8]]:
    """Decode photos and bring them to the network's input uint8 [1, H, W, C].

    Raises:
        SourceUnreadable: naming the first file that is not a whole photo.
    """
    return [_read_input(path, source) for path in files]


def _read_input(path: Path, source: InputSpec) -> npt.NDArray[np.uint8]:
    try:
        return to_input(decode_photo(path.read_bytes()), source)[0]
    except PhotoRefused as error:
        raise SourceUnreadable(f"calibration photo {path}: {error}; replace it or take it away") from error
    except OSError as error:
        raise SourceUnreadable(f"calibration photo {path}: {error.strerror}") from error
