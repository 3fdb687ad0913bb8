"""What can go wrong when a cloud starts is told in a line; one bad package does not stop the others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_runtime.package import hash_files

from demo.processes import Running, start_cloud, stopping

NAME = "yolov3-tiny-coco"


def test_a_port_that_is_taken_is_told(cloud: Running, models: Path):
    program = Path(sys.executable).with_name("edgedet-cloud")
    port = cloud.address.rpartition(":")[2]
    second = subprocess.run(
        [program, "serve", "--port", port, "--models", models], capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 2
    message = " ".join(second.stderr.replace("│", "").split())
    assert f"cannot listen on host '127.0.0.1', port {port}: Address already in use" in message
    assert "Traceback" not in second.stderr


@pytest.fixture
def mixed_models(models: Path, tmp_path: Path) -> Path:
    """A good package, one with a wrong hash, and one whose graph is not what its manifest says."""
    folder = tmp_path / "models" / NAME
    for version in (1, 2, 3):
        shutil.copytree(models / NAME / "1", folder / str(version))
        manifest = json.loads((folder / str(version) / "manifest.json").read_text())
        manifest["version"] = version
        if version == 2:
            manifest["files"]["model.onnx"] = "0" * 64
        if version == 3:
            (folder / "3" / "model.onnx").write_bytes(b"junk")
            manifest["files"] |= hash_files({"model.onnx": b"junk"})
        (folder / str(version) / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "models"


def test_bad_packages_are_refused_with_reasons_and_the_good_one_serves(
    mixed_models: Path, tmp_path: Path, edge, sample_photos: list[Path]
):
    with stopping(start_cloud(tmp_path, "--models", str(mixed_models))) as (cloud,):
        with grpc.insecure_channel(cloud.address) as channel:
            response = GRPCInferenceServiceStub(channel).ModelInfer(edge.request(sample_photos[0], 4), timeout=10)
            assert response.model_version == "1"
        events = [json.loads(line) for line in cloud.log.read_text().splitlines()]
        reasons = sorted(event["reason"] for event in events if event["event"] == "package refused")
    assert len(reasons) == 2
    assert "model.onnx has sha256" in reasons[0]
    assert f"{NAME}/3: " in reasons[1]
