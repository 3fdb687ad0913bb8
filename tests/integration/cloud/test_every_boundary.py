"""Wherever a photo's inference is handed over, the answer is the fused network's, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import parse_response
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.detection import Detections, DetectThresholds
from edgedet_runtime.package import Package

DEADLINE_S = 10.0
# As in evaluation: hundreds of boxes per photo to compare, not five.
CHOICES = DetectThresholds(0.005, 0.45, 1000)
TOLD = {"score_threshold": CHOICES.score, "iou_threshold": CHOICES.iou, "max_detections": CHOICES.max_detections}


@pytest.fixture(scope="module")
def fused(package: Package) -> onnxruntime.InferenceSession:
    """The whole network in one session."""
    return onnxruntime.InferenceSession(package.path("model.onnx").read_bytes(), session_options())


def test_every_boundary_and_codec_gives_the_fused_networks_answer_for_every_photo(
    stub: GRPCInferenceServiceStub, edge, fused: onnxruntime.InferenceSession, sample_photos: list[Path]
):
    strict = replace(edge, call=replace(edge.call, **TOLD))
    boxes = 0
    names = [output.name for output in fused.get_outputs()]
    for photo in sample_photos:
        tensor, geometry = edge.enter(photo)
        outputs = dict(zip(names, fused.run(names, {"image": tensor}), strict=True))
        expected = edge.finisher.finish(outputs, geometry, CHOICES)
        assert isinstance(expected, Detections)
        boxes += len(expected)
        for boundary, codec, request in strict.requests(photo, ["raw", "zstd"]):
            reply = parse_response(stub.ModelInfer(request, timeout=DEADLINE_S))
            where = f"{photo.name}, boundary {boundary}, {codec}"
            assert reply.tensors["detections"].tobytes() == expected.to_rows().tobytes(), where
    assert boxes > 20 * len(sample_photos)


def test_raw_outputs_finished_at_home_give_the_fused_networks_answer(
    stub: GRPCInferenceServiceStub, edge, fused: onnxruntime.InferenceSession, sample_photos: list[Path]
):
    tensor, _ = edge.enter(sample_photos[0])
    names = [output.name for output in fused.get_outputs()]
    expected = dict(zip(names, fused.run(names, {"image": tensor}), strict=True))
    raw = replace(edge, call=replace(edge.call, raw=True))
    for _, _, request in raw.requests(sample_photos[0], ["raw"]):
        reply = parse_response(stub.ModelInfer(request, timeout=DEADLINE_S))
        assert reply.tensors.keys() == expected.keys()
        assert all(np.array_equal(reply.tensors[name], expected[name]) for name in expected)


def test_a_reply_tells_times_load_digest_and_backend(
    stub: GRPCInferenceServiceStub, edge, package: Package, sample_photos: list[Path]
):
    reply = parse_response(stub.ModelInfer(edge.request(sample_photos[0], 4), timeout=DEADLINE_S))
    assert reply.digest == package.digest
    assert reply.backend == "onnxruntime"
    assert reply.queue_ms is not None
    assert reply.service_ms is not None
    assert reply.service_ms > 0
    assert reply.load is not None
    assert (reply.load.workers, reply.load.backlog_ms) == (1, 0)
    assert 0 <= reply.load.utilization <= 1
    assert reply.load.mean_service_ms > 0
