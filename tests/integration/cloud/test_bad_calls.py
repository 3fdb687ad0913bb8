"""Whatever a client sends gets a clean status with the load; memory stays, the next call is served."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from edgedet_proto.cloud_load import CloudLoad
from edgedet_proto.inference_pb2 import ModelInferRequest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import build_photo_request, build_request

from demo.processes import Running

DEADLINE_S = 10.0
Change = Callable[[ModelInferRequest], object]


@dataclass(frozen=True)
class Status:
    code: grpc.StatusCode
    details: str
    trailing: dict[str, Any]


def status_of(stub: GRPCInferenceServiceStub, request: ModelInferRequest) -> Status:
    with pytest.raises(grpc.RpcError) as refusal:
        stub.ModelInfer(request, timeout=DEADLINE_S)
    return Status(refusal.value.code(), refusal.value.details(), dict(refusal.value.trailing_metadata()))


def bomb(request: ModelInferRequest) -> None:
    request.parameters["codec"].string_param = "zstd"
    request.raw_input_contents[0] = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 30))


def reshape(request: ModelInferRequest) -> None:
    request.inputs[0].shape[:] = [1, 26, 128, 26]


def retype(request: ModelInferRequest) -> None:
    request.inputs[0].datatype = "FP32"


def shorten(request: ModelInferRequest) -> None:
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]


def text(name: str, value: str) -> Change:
    return lambda request: setattr(request.parameters[name], "string_param", value)


def number(name: str, value: int) -> Change:
    return lambda request: setattr(request.parameters[name], "int64_param", value)


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
BAD: dict[str, tuple[Change, grpc.StatusCode, str]] = {
    "a tensor of another shape": (reshape, INVALID, "boundary 4 carries"),
    "a tensor of another type": (retype, INVALID, "boundary 4 carries"),
    "a tensor that is cut off": (shorten, INVALID, "86527 bytes, its shape"),
    "a zstd bomb": (bomb, INVALID, "unpacks to 1073741824 bytes, its shape needs 86528"),
    "raw bytes called zstd": (text("codec", "zstd"), INVALID, "is not a zstd frame"),
    "an unknown codec": (text("codec", "gzip"), INVALID, "codec must be raw or zstd"),
    "another boundary": (number("boundary", 5), INVALID, "not the live tensors of boundary 5"),
    "the boundary behind the last segment": (number("boundary", 7), INVALID, "not the live tensors of boundary 7"),
    "a boundary in words": (text("boundary", "four"), INVALID, "boundary must be int"),
    "no tensors": (lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents")), INVALID, "no tensor"),
    "tensors without contents": (lambda r: r.ClearField("raw_input_contents"), INVALID, "0 for 1 inputs"),
    "an unknown model": (lambda r: setattr(r, "model_name", "other"), NOT_FOUND, "yolov3-tiny-coco:1"),
    "an unknown version": (lambda r: setattr(r, "model_version", "9"), NOT_FOUND, "version '9'"),
    "another digest": (text("digest", "0" * 64), grpc.StatusCode.FAILED_PRECONDITION, "digest: yolov3-tiny-coco:1"),
}


@pytest.mark.parametrize(("change", "code", "reason"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("serves_on")
def test_a_bad_call_gets_its_status_its_reason_and_the_load(
    stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path], change: Change, code: grpc.StatusCode, reason: str
):
    request = edge.request(sample_photos[0], 4)
    change(request)
    status = status_of(stub, request)
    assert status.code == code
    assert reason in status.details
    assert CloudLoad.from_metadata(status.trailing.items()) is not None


PHOTOS = {
    "empty": (b"", "the photo is empty"),
    "text": (b"not a photo", "neither JPEG nor PNG"),
    "truncated": (None, "truncated or damaged"),
    "a bomb": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30_000).to_bytes(4, "big") * 2 + bytes(20), "the limit is 40"),
}


@pytest.mark.parametrize(("photo", "reason"), PHOTOS.values(), ids=PHOTOS)
@pytest.mark.usefixtures("serves_on")
def test_a_bad_photo_gets_invalid_argument(
    stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path], photo: bytes | None, reason: str
):
    content = sample_photos[0].read_bytes()[:50_000] if photo is None else photo
    status = status_of(stub, build_photo_request(replace(edge.call, boundary=0), content))
    assert status.code == INVALID
    assert reason in status.details


@pytest.mark.usefixtures("serves_on")
def test_an_oversized_message_is_refused_before_it_is_read(stub: GRPCInferenceServiceStub, edge):
    status = status_of(stub, build_photo_request(edge.call, bytes(30 << 20)))
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in status.details
    assert CloudLoad.from_metadata(status.trailing.items()) is None


@pytest.mark.usefixtures("serves_on")
def test_bytes_that_are_no_message_get_a_status(cloud: Running):
    with grpc.insecure_channel(cloud.address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refusal:
            call(b"\xff" * 100, timeout=DEADLINE_S)
        assert refusal.value.code() == INVALID
        with pytest.raises(grpc.RpcError) as refusal:
            channel.unary_unary("/inference.GRPCInferenceService/ModelDance")(b"", timeout=DEADLINE_S)
        assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.usefixtures("serves_on")
def test_bombs_and_oversized_messages_leave_no_memory_behind(
    cloud: Running, stub: GRPCInferenceServiceStub, edge, sample_photos: list[Path]
):
    bad = edge.request(sample_photos[0], 4)
    bomb(bad)
    large = build_photo_request(edge.call, bytes(30 << 20))
    noise = np.random.default_rng(0).integers(0, 256, (1, 416, 416, 4), np.uint8)
    good = build_request(replace(edge.call, boundary=0), [("image", noise)])
    for request in (bad, large):
        status_of(stub, request)
    before_mb = resident_mb(cloud.pid)
    for _ in range(6):
        status_of(stub, bad)
        status_of(stub, large)
        stub.ModelInfer(good, timeout=DEADLINE_S)
    # One of the messages would be 30 MB, one unpacked bomb 1 GB.
    assert resident_mb(cloud.pid) - before_mb < 60


def test_none_of_this_left_a_stack_trace(cloud: Running):
    log = cloud.log.read_text()
    assert '"event": "refused"' in log
    assert "Traceback" not in log
    assert '"exception"' not in log
