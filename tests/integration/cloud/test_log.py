"""The log: no line for every answer, which would fill a disk in time, and a disk that is full all the same."""

import resource
from pathlib import Path

import grpc
import pytest
from edgedet_proto.inference_pb2 import ModelInferRequest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import parse_response

from demo.processes import Running


def test_an_answer_is_no_line(cloud: Running, stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path]):
    stub.ModelInfer(edge.request(sample_photos[0], 4), timeout=10)
    assert '"event": "ready"' in cloud.log.read_text()
    assert '"event": "answered"' not in cloud.log.read_text()


def test_a_log_that_cannot_be_written_costs_no_answer(
    cloud: Running, stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path]
):
    limits = resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        reply = parse_response(stub.ModelInfer(edge.request(sample_photos[0], 4), timeout=10))
        with pytest.raises(grpc.RpcError) as refusal:
            stub.ModelInfer(ModelInferRequest(model_name="nobody"), timeout=10)
    finally:
        resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, limits)
    assert reply.backend == "onnxruntime"
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
