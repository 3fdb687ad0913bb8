"""Where data and weights are looked for, and what is said when they are not there."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing
from edgedet_compression.known_models import known_model
from edgedet_compression.sources import (
    YOLOV3_TINY,
    data_folder,
    find_fetched,
    find_weights,
    folder_sha256,
    source_named,
)

WEIGHTS = YOLOV3_TINY.files[0]


def test_without_a_data_folder_both_ways_to_give_it_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EDGEDET_DATA", raising=False)
    with pytest.raises(SourceMissing, match="set EDGEDET_DATA or give --data"):
        data_folder(None)


def test_a_given_folder_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEDET_DATA", str(tmp_path / "other"))
    assert data_folder(tmp_path) == tmp_path
    with pytest.raises(SourceMissing, match="other is not there"):
        data_folder(None)


def test_missing_weights_tell_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEDET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SourceMissing, match=r"yolov3-tiny\.weights is not at .* `edgedet-compress fetch yolov3-tiny`"):
        find_fetched(tmp_path, YOLOV3_TINY, WEIGHTS)


def test_weights_with_another_content_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEDET_CACHE", str(tmp_path))
    (tmp_path / "yolov3-tiny").mkdir()
    (tmp_path / "yolov3-tiny" / WEIGHTS.name).write_bytes(b"damaged")
    with pytest.raises(ChecksumMismatch, match="expected dccea06f59b7…: remove it and fetch it again"):
        find_fetched(tmp_path, YOLOV3_TINY, WEIGHTS)


def test_weights_that_nothing_fetches_point_to_the_readme(tmp_path: Path):
    with pytest.raises(SourceMissing, match=r"compression/README\.md"):
        find_weights(tmp_path, "resnet-cifar10", "resnet20-12fca82f.th")


def put_cifar10(folder: Path, label: int) -> None:
    batches = folder / "cifar10" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"):
        content = {b"data": np.full((2, 3072), label, np.uint8), b"labels": [label] * 2}
        (batches / name).write_bytes(pickle.dumps(content))


def test_a_build_finds_cifar10_in_the_data_folder_and_else_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data, cache = tmp_path / "data", tmp_path / "cache"
    monkeypatch.setenv("EDGEDET_CACHE", str(cache))
    model = known_model("resnet20-cifar10")
    with pytest.raises(SourceMissing, match=r"nor .*cache/cifar10; `edgedet-compress fetch cifar10`"):
        model.calibration(data, model.input, 0)
    for folder, label in ((cache, 3), (data, 5)):
        put_cifar10(folder, label)
        photos = model.calibration(data, model.input, 0).photos
        assert len(photos) == 10
        assert {int(photo[..., 0].max()) for photo in photos} == {label}


def test_names_of_photos_need_not_be_utf_8(tmp_path: Path):
    photo = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    photo.write_bytes(b"")
    assert folder_sha256([photo]) != folder_sha256([photo.rename(tmp_path / "café.jpg")])


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(BuildRefused, match="there are: yolov3-tiny-coco, resnet20-cifar10"):
        known_model("yolov9")
    with pytest.raises(BuildRefused, match=r"there are: yolov3-tiny$"):
        source_named("yolov9")
