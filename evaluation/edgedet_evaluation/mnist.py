"""Reads MNIST (LeCun, Cortes & Burges) from its four official files, gzip-compressed IDX.

IDX: a big-endian header, 0x0000 08 D (unsigned bytes in D dimensions) and each dimension as 32 bits, then the bytes.
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet_evaluation.cifar10 import LabeledImages, Split
from edgedet_evaluation.errors import DataMissing, DataUnreadable

LABELS = tuple("0123456789")

_PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
_SIDE = 28


def read_mnist(folder: Path, split: Split) -> LabeledImages:
    """All images of a split in the official order; they are gray: uint8 [n, 28, 28, 1].

    Raises:
        DataMissing: a file is not in the folder.
        DataUnreadable: a file of it is damaged or something else.
    """
    images_file = folder / f"{_PREFIXES[split]}-images-idx3-ubyte.gz"
    labels_file = folder / f"{_PREFIXES[split]}-labels-idx1-ubyte.gz"
    images, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise DataUnreadable(f"{images_file} holds images of {images.shape[1:]} pixels, MNIST's have {_SIDE} x {_SIDE}")
    if len(images) != len(labels) or not len(labels):
        raise DataUnreadable(f"{labels_file} holds {len(labels)} labels for the {len(images)} images beside it")
    if labels.max() >= len(LABELS):
        raise DataUnreadable(f"{labels_file} holds label {labels.max()}, MNIST's are 0…9")
    return LabeledImages(f"MNIST {split}", images[..., np.newaxis], labels.astype(np.int64))


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataMissing(f"no MNIST file at {path}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataUnreadable(f"{path} is not a whole gzip file: {error}") from error
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header:
        raise DataUnreadable(f"{path} is not an IDX file of bytes in {dimensions} dimensions")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != header + int(np.prod(shape, dtype=np.int64)):
        raise DataUnreadable(
            f"{path} holds {len(content) - header} bytes, its header says {' x '.join(map(str, shape))}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
