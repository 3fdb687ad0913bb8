"""CIFAR-10: both forms give the same images, and neither runs what it reads."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from edgedet_evaluation.cifar10 import read_cifar10
from edgedet_evaluation.errors import DataMissing, DataUnreadable
from PIL import Image


@pytest.fixture
def images() -> np.ndarray:
    """10,000 different images of few colors each, so that they compress."""
    corners = np.random.default_rng(0).integers(0, 256, (10_000, 2, 2, 3), np.uint8)
    return corners.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, 10_000)


def write_batch(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({b"data": rows, b"labels": labels.tolist()}, protocol=2))


def write_mosaics(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    for number in range(10):
        tiles = images[number * 1000 : (number + 1) * 1000].reshape(40, 25, 32, 32, 3)
        mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(1280, 800, 3)
        Image.fromarray(mosaic).save(folder / f"test_{number:02d}.webp", lossless=True, method=0)
    lines = ["".join(map(str, row)) for row in labels.reshape(100, 100)]
    (folder / "test_labels.txt").write_text("\n".join(lines))


def test_official_batches_and_mosaics_give_the_same_images(tmp_path: Path, images: np.ndarray, labels: np.ndarray):
    official, compact = tmp_path / "official", tmp_path / "compact"
    official.mkdir()
    compact.mkdir()
    write_batch(official / "cifar-10-batches-py" / "test_batch", images, labels)
    write_mosaics(compact, images, labels)
    first, second = read_cifar10(official, "test"), read_cifar10(compact, "test")
    assert (first.images == images).all()
    assert (first.labels == labels).all()
    assert first.sha256 == second.sha256


def test_the_train_split_joins_five_batches(tmp_path: Path, images: np.ndarray, labels: np.ndarray):
    for number in range(5):
        part = slice(number * 10, number * 10 + 10)
        write_batch(tmp_path / f"data_batch_{number + 1}", images[part], labels[part])
    found = read_cifar10(tmp_path, "train")
    assert len(found) == 50
    assert (found.images == images[:50]).all()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_that_calls_something_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": Harmful(), b"labels": []}))
    with pytest.raises(DataUnreadable, match="mkdir"):
        read_cifar10(tmp_path, "test")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2]), pickle.dumps({b"data": 1})])
def test_a_damaged_batch_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataUnreadable, match="test_batch is not a batch"):
        read_cifar10(tmp_path, "test")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1]}, "other data than CIFAR-10's"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["cat"]}, "other data than CIFAR-10's"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, -1]}, r"labels 0…9 expected"),
    ],
)
def test_a_batch_of_other_data_is_refused(tmp_path: Path, batch: dict, message: str):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataUnreadable, match=message):
        read_cifar10(tmp_path, "test")


@pytest.mark.parametrize("text", ["0 1 x", "0 1 é"])
def test_labels_of_mosaics_that_are_no_digits_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, text: str
):
    write_mosaics(tmp_path, images, labels)
    (tmp_path / "test_labels.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataUnreadable, match=r"test_labels\.txt must hold one digit an image"):
        read_cifar10(tmp_path, "test")


def test_an_empty_folder_is_told(tmp_path: Path):
    with pytest.raises(DataMissing, match="neither cifar-10-batches-py"):
        read_cifar10(tmp_path, "train")


def test_a_mosaic_of_another_size_is_refused(tmp_path: Path):
    Image.new("RGB", (32, 32)).save(tmp_path / "test_00.webp", lossless=True)
    with pytest.raises(DataUnreadable, match=r"test_00\.webp has shape \(32, 32, 3\)"):
        read_cifar10(tmp_path, "test")


def test_fewer_labels_than_images_are_refused(tmp_path: Path, images: np.ndarray, labels: np.ndarray):
    write_batch(tmp_path / "test_batch", images[:20], labels[:19])
    with pytest.raises(DataUnreadable, match="20 test images, 19 labels"):
        read_cifar10(tmp_path, "test")
