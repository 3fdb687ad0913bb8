"""Clients that know nothing of us (Triton's own, the public health and reflection clients), and our health command."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from edgedet_runtime.detection import Detections
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from demo.processes import Running, free_port

NAME = "yolov3-tiny-coco"
SERVICE = "inference.GRPCInferenceService"


@dataclass(frozen=True)
class Session:
    """What Triton's client saw and was answered."""

    facts: dict[str, Any]
    answers: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def session(cloud: Running, edge, sample_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("triton")
    tensor, _ = edge.enter(sample_photos[0])
    for boundary in range(edge.chain.segment_count):
        np.savez(folder / f"boundary-{boundary}.npz", **edge.chain.run({"image": tensor}, stop=boundary))
    shutil.copy(sample_photos[0], folder / "photo.jpg")
    script = Path(__file__).with_name("triton_session.py")
    subprocess.run([sys.executable, script, cloud.address, folder], check=True, timeout=60)
    return Session(json.loads((folder / "facts.json").read_text()), dict(np.load(folder / "answers.npz")))


def test_triton_client_sees_a_live_server_and_its_models(session: Session):
    facts = session.facts
    assert facts["live"]
    assert facts["ready"]
    assert facts["model_ready"] == [True, True]
    assert facts["server"] == "edgedet-cloud"
    assert facts["model"] == [NAME, ["1"]]
    assert facts["inputs"] == [["image", "UINT8", [1, 416, 416, 4]]]
    assert facts["outputs"] == [["detections", "FP32", [-1, 6]]]


def test_triton_client_runs_every_boundary_by_the_tensors_names_alone(
    session: Session, edge, sample_photos: list[Path]
):
    """Without the photo's size, boxes come in pixels of the network's input."""
    tensor, _ = edge.enter(sample_photos[0])
    detections = edge.finisher.decoder(edge.chain.run_input(tensor), edge.finisher.default_choices())
    assert isinstance(detections, Detections)
    expected = detections.to_rows()
    expected[:, :4] = np.clip(expected[:, :4], 0, 416)
    assert len(expected)
    for boundary in range(edge.chain.segment_count):
        assert np.array_equal(session.answers[f"boundary-{boundary}"], expected), f"boundary {boundary}"


def test_triton_client_gets_the_networks_outputs_with_raw(session: Session, edge, sample_photos: list[Path]):
    tensor, _ = edge.enter(sample_photos[0])
    expected = edge.chain.run_input(tensor)
    assert all(np.array_equal(session.answers[name], expected[name]) for name in ("head_32", "head_16"))
    assert session.facts["echo"] == ["mine", NAME, "1"]


def test_triton_client_sends_a_photo_and_chooses_thresholds(session: Session, edge, sample_photos: list[Path]):
    tensor, geometry = edge.enter(sample_photos[0])
    expected = edge.finisher.finish(edge.chain.run_input(tensor), geometry, edge.finisher.default_choices())
    assert np.array_equal(session.answers["photo"], expected.to_rows())
    assert session.answers["nothing"].size == 0


def test_triton_client_reads_the_reason_of_a_refusal(session: Session):
    status, reason = session.facts["unknown_model"]
    assert status == "StatusCode.NOT_FOUND"
    assert "is not served; there are: " in reason
    status, reason = session.facts["mixed_inputs"]
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "stands alone" in reason


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_health_service_says_serving(cloud: Running, service: str):
    with grpc.insecure_channel(cloud.address) as channel:
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status
    assert status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_inference_service(cloud: Running):
    with grpc.insecure_channel(cloud.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName(SERVICE)
        assert "ModelInfer" in [method.name for method in service.methods]


def health_command(address: str) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("edgedet-cloud")
    proxied = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    return subprocess.run(
        [program, "health", "--address", address], capture_output=True, text=True, check=False, env=proxied
    )


def test_the_health_command_exits_with_0_or_1(cloud: Running):
    healthy = health_command(cloud.address)
    assert (healthy.returncode, healthy.stdout.strip()) == (0, "SERVING")
    absent = health_command(f"127.0.0.1:{free_port()}")
    assert absent.returncode == 1
    assert "UNAVAILABLE" in absent.stderr
