"""The branch report of a small network: every variant measured, the teacher first, plain JSON at the end."""

import json

import numpy as np
import pytest
from edgedet_compression.networks.families import parameter_count, state_bytes
from edgedet_compression.pruning.layers import remove_branch
from edgedet_compression.reports.branch_report import TEACHER, BranchReport, branch_report
from edgedet_compression.training.detection import PreparedPhotos
from edgedet_evaluation.coco import CocoDataset, CocoPhoto

from tests.unit.compression.prunable_networks import small_yolo

pytestmark = pytest.mark.needs_torch

LABELS = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def report(sample_photos) -> BranchReport:
    photos = tuple(CocoPhoto(number, file) for number, file in enumerate(sample_photos[:3], start=1))
    rows = [
        {"id": number, "image_id": photo.id, "category_id": 1 + number % 3, "bbox": [10, 10, side, side],
         "area": side**2, "iscrowd": 0}
        for number, (photo, side) in enumerate((p, s) for p in photos for s in (20, 60))
    ]  # fmt: skip
    content = {
        "images": [{"id": photo.id, "file_name": photo.file.name} for photo in photos],
        "categories": [{"id": place, "name": name} for place, name in enumerate(LABELS, start=1)],
        "annotations": rows,
    }
    dataset = CocoDataset("drawn", photos, tuple(enumerate(LABELS, start=1)), content, "")
    teacher = small_yolo()
    variants = {stride: remove_branch(teacher, stride) for stride in (4, 2)}
    return branch_report(teacher, variants, PreparedPhotos.read(dataset, LABELS, 16), 32)


def test_every_network_has_a_row_and_the_teacher_comes_first(report: BranchReport):
    assert [row.name for row in report.rows] == [TEACHER, "without 8 × 8", "without 16 × 16"]
    assert [row.strides for row in report.rows] == [(4, 2), (2,), (4,)]
    assert (report.size, report.dataset, report.photos) == (32, "drawn", 3)


def test_sizes_are_those_of_the_networks(report: BranchReport):
    teacher, without_coarse, without_fine = report.rows
    network = small_yolo()
    assert teacher.parameters == parameter_count(network)
    assert teacher.state_bytes == state_bytes(network)
    for row in (without_coarse, without_fine):
        assert row.parameters < teacher.parameters
        assert row.macs < teacher.macs
        assert row.onnx_bytes < teacher.onnx_bytes
        assert row.latency.speedup.value > 0


def test_accuracy_is_paired_with_the_teachers_and_split_by_size(report: BranchReport):
    teacher = report.rows[0].accuracy
    assert (teacher.minus_teacher.value, teacher.minus_teacher.low, teacher.minus_teacher.high) == (0, 0, 0)
    for row in report.rows:
        assert row.accuracy.minus_teacher.value == pytest.approx(row.accuracy.map50.value - teacher.map50.value)
        assert {name: area.boxes for name, area in row.accuracy.by_area.items()} == {
            "small": 3,
            "medium": 3,
            "large": 0,
        }
        assert row.accuracy.by_area["large"].map50 is None


def test_the_report_is_plain_json(report: BranchReport, tmp_path):
    report.save(tmp_path / "branches.json")
    content = json.loads((tmp_path / "branches.json").read_text())
    assert content["rows"][0]["latency"]["frames_per_second"] > 0
    assert np.isfinite(content["rows"][1]["accuracy"]["map50"]["low"])
