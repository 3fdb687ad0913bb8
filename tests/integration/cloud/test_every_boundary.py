"""Wherever a photo's inference is handed over, the answer is the fused network's, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import parse_response
from edgedet_runtime.answer import Choices
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.detection import DetectThresholds

DEADLINE_S = 10.0
# As in evaluation: hundreds of boxes per photo to compare, not five; and every class.
THRESHOLDS = DetectThresholds(0.005, 0.45, 1000)
TOLD = {"score_threshold": 0.005, "iou_threshold": 0.45, "max_detections": 1000}
CASES: dict[str, tuple[Choices, dict[str, float], str]] = {
    "yolov3-tiny-coco": (THRESHOLDS, TOLD, "detections"),
    "resnet20-cifar10": (10, {"top_k": 10}, "classes"),
}


def fused_outputs(edge, photo: Path) -> dict[str, Tensor]:
    """What the whole network in one session makes of a photo."""
    session = onnxruntime.InferenceSession(edge.package.path("model.onnx").read_bytes(), session_options())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {edge.package.manifest.input.name: edge.enter(photo)[0]}), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_every_boundary_and_codec_gives_the_fused_networks_answer_for_every_photo(
    stub: GRPCInferenceServiceStub, edges, sample_photos: list[Path], name: str
):
    edge, (choices, told, output) = edges[name], CASES[name]
    asking = replace(edge, call=replace(edge.call, **told))
    rows = 0
    for photo in sample_photos:
        expected = edge.finisher.finish(fused_outputs(edge, photo), edge.enter(photo)[1], choices).to_rows()
        rows += len(expected)
        for boundary, codec, request in asking.requests(photo, ["raw", "zstd"]):
            reply = parse_response(stub.ModelInfer(request, timeout=DEADLINE_S))
            where = f"{photo.name}, boundary {boundary}, {codec}"
            assert reply.tensors[output].tobytes() == expected.tobytes(), where
    assert rows >= 10 * len(sample_photos)


@pytest.mark.parametrize("name", CASES)
def test_raw_outputs_are_the_fused_networks(
    stub: GRPCInferenceServiceStub, edges, sample_photos: list[Path], name: str
):
    expected = fused_outputs(edges[name], sample_photos[0])
    raw = replace(edges[name], call=replace(edges[name].call, raw=True))
    for _, _, request in raw.requests(sample_photos[0], ["raw"]):
        reply = parse_response(stub.ModelInfer(request, timeout=DEADLINE_S))
        assert reply.tensors.keys() == expected.keys()
        assert all(np.array_equal(reply.tensors[key], expected[key]) for key in expected)


def test_a_reply_tells_times_load_digest_and_backend(stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path]):
    reply = parse_response(stub.ModelInfer(edge.request(sample_photos[0], 4), timeout=DEADLINE_S))
    assert reply.digest == edge.package.digest
    assert reply.backend == "onnxruntime"
    assert reply.queue_ms is not None
    assert reply.service_ms is not None
    assert reply.service_ms > 0
    assert reply.load is not None
    assert (reply.load.workers, reply.load.backlog_ms) == (1, 0)
    assert 0 <= reply.load.utilization <= 1
    assert reply.load.mean_service_ms > 0
