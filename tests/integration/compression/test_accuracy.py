"""The committed packages on their test sets, through the segment chain, beside their float networks."""

import json
import shutil
from pathlib import Path

import pytest
from edgedet_compression.known_models import known_model
from edgedet_runtime.package import load_package

pytestmark = pytest.mark.needs_data

RESULTS = Path(__file__).parents[3] / "compression" / "results"


def measured(compress, models: Path, name: str, tmp_path: Path, data: Path, *options: str) -> dict[str, float]:
    """`evaluate` on a copy of the package: its figures by name, which must be those of the committed manifest."""
    copy = tmp_path / name / "1"
    shutil.copytree(models / name / "1", copy)
    result = compress("evaluate", copy, "--data", data, *options)
    assert result.exit_code == 0, result.stderr
    figures = {metric.name: metric.value for metric in load_package(copy).manifest.metrics}
    committed = json.loads((models / name / "1" / "manifest.json").read_text())["metrics"]
    known = {metric["name"]: metric["value"] for metric in committed}
    assert figures == pytest.approx({name: known[name] for name in figures}, abs=1e-3)
    return figures


def test_yolov3_tiny_loses_at_most_half_a_point(compress, models: Path, tmp_path: Path, data: Path):
    figures = measured(compress, models, "yolov3-tiny-coco", tmp_path, data)
    assert figures["mAP50, fp32"] >= 0.41
    assert figures["mAP50, int8"] >= figures["mAP50, fp32"] - 0.005


def test_resnet20_loses_at_most_a_fifth_of_a_point(compress, models: Path, tmp_path: Path, data: Path):
    figures = measured(compress, models, "resnet20-cifar10", tmp_path, data)
    assert figures["top-1, fp32"] == 0.9173
    assert figures["top-1, int8"] >= figures["top-1, fp32"] - 0.002


def test_the_trimmed_yolov3_is_within_a_point_and_a_half_of_its_teacher(
    compress, models: Path, tmp_path: Path, data: Path
):
    figures = measured(compress, models, "yolov3-trimmed-bccd", tmp_path, data, "--recipe", "yolov3-bccd")
    tested = json.loads((RESULTS / "yolov3-bccd.json").read_text())["stages"]["test"]["networks"]
    assert figures["mAP50, int8"] >= tested["teacher"]["mAP50"]["value"] - 0.015
    assert tested["thin"]["parameters"] <= 8_000_000


def test_the_yolov3_tiny_package_is_a_fraction_of_its_float_weights(models: Path, data: Path):
    folder = models / "yolov3-tiny-coco" / "1"
    package_bytes = sum(path.stat().st_size for path in folder.iterdir())
    assert package_bytes < 10e6
    assert known_model("yolov3-tiny-coco").load(data).model.ByteSize() >= 3.8 * package_bytes
