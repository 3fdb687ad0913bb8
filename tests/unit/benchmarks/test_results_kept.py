"""The committed results, which the README quotes, are not replaced by figures of something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from edgedet_runtime.package import load_package

from benchmarks.model_speed import Float, is_in_readme

ROOT = Path(__file__).parents[3]


def test_only_yolov3_tiny_beside_its_float_network_is_written(models: Path) -> None:
    tiny, other = (load_package(models / name / "1") for name in ("yolov3-tiny-coco", "small-lenet-w4a4-mnist"))
    baseline = Float(lambda: None, 1)
    assert is_in_readme(tiny, baseline)
    assert not is_in_readme(tiny, None)
    assert not is_in_readme(other, baseline)


@pytest.mark.parametrize("name", ["http_overhead", "overload"])
def test_too_few_cores_are_told_at_once(name: str) -> None:
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, "-m", f"benchmarks.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "cores 0 and 1 are needed" in done.stderr
