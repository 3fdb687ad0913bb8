"""Where data and weights are looked for, and what is said when they are not there."""

from pathlib import Path

import pytest
from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing
from edgedet_compression.known_models import known_model
from edgedet_compression.sources import YOLOV3_TINY, data_folder, find_fetched, find_weights, source_named

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


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(BuildRefused, match="there are: yolov3-tiny-coco, resnet20-cifar10"):
        known_model("yolov9")
    with pytest.raises(BuildRefused, match=r"there are: yolov3-tiny$"):
        source_named("yolov9")
