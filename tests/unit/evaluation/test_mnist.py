"""MNIST: the official files are read, and whatever else lies there is named."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from edgedet_evaluation.errors import DataMissing, DataUnreadable
from edgedet_evaluation.mnist import read_mnist

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / IMAGES).write_bytes(gzip.compress(idx(images)))
    (folder / LABELS).write_bytes(gzip.compress(idx(labels)))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)


def test_images_are_gray_and_in_the_files_order(tmp_path: Path, images: np.ndarray):
    write(tmp_path, images, np.arange(12) % 10)
    found = read_mnist(tmp_path, "test")
    assert found.name == "MNIST test"
    assert found.images.shape == (12, 28, 28, 1)
    assert (found.images[..., 0] == images).all()
    assert found.labels.tolist() == [*range(10), 0, 1]
    assert found.labels.dtype == np.int64


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"no MNIST file at .*train-images-idx3-ubyte\.gz"):
        read_mnist(tmp_path, "train")


@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, images: np.ndarray, name: str):
    write(tmp_path, images, np.zeros(12))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(DataUnreadable, match=f"{name} is not a whole gzip file"):
        read_mnist(tmp_path, "test")


@pytest.mark.parametrize("content", [b"", b"no gzip"])
def test_what_is_no_gzip_file_is_named(tmp_path: Path, images: np.ndarray, content: bytes):
    write(tmp_path, images, np.zeros(12))
    (tmp_path / LABELS).write_bytes(content)
    with pytest.raises(DataUnreadable, match=LABELS):
        read_mnist(tmp_path, "test")


@pytest.mark.parametrize("content", [b"", b"\0\0", idx(np.zeros((12, 28))), b"\0\0\x0d\x01" + bytes(8)])
def test_what_is_no_idx_file_is_named(tmp_path: Path, images: np.ndarray, content: bytes):
    write(tmp_path, images, np.zeros(12))
    (tmp_path / LABELS).write_bytes(gzip.compress(content))
    with pytest.raises(DataUnreadable, match=f"{LABELS} is not an IDX file of bytes in 1 dimensions"):
        read_mnist(tmp_path, "test")


def test_fewer_bytes_than_the_header_says_are_refused(tmp_path: Path, images: np.ndarray):
    write(tmp_path, images, np.zeros(12))
    (tmp_path / IMAGES).write_bytes(gzip.compress(idx(images)[:-1]))
    with pytest.raises(DataUnreadable, match="holds 9407 bytes, its header says 12 x 28 x 28"):
        read_mnist(tmp_path, "test")


@pytest.mark.parametrize(
    ("shape", "labels", "said"),
    [
        ((12, 28, 27), np.zeros(12), "28, 27"),
        ((12, 28, 28), np.zeros(11), "11 labels for the 12 images"),
        ((12, 28, 28), np.full(12, 10), "label 10"),
        ((0, 28, 28), np.zeros(0), "0 labels for the 0 images"),
    ],
)
def test_files_that_do_not_fit_each_other_or_mnist_are_refused(tmp_path: Path, shape, labels, said: str):
    write(tmp_path, np.zeros(shape), labels)
    with pytest.raises(DataUnreadable, match=said):
        read_mnist(tmp_path, "test")
