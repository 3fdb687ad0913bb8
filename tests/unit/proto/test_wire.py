"""The wire: what goes in comes out, and no malformed message gets through or costs memory."""

import numpy as np
import pytest
import zstandard
from edgedet_proto.inference_pb2 import ModelInferRequest, ModelInferResponse
from edgedet_proto.wire import (
    CloudLoad,
    InferCall,
    InferReply,
    WireError,
    WireTensor,
    build_photo_request,
    build_request,
    build_response,
    parse_request,
    parse_response,
    photo_of,
    unpack,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

texts = st.text(max_size=20)
shares = st.none() | st.floats(0, 1)
calls = st.builds(
    InferCall,
    model=texts,
    version=texts,
    request_id=texts,
    boundary=st.none() | st.integers(0, 20),
    codec=st.sampled_from(["raw", "zstd"]),
    digest=texts,
    photo_width=st.integers(0, 10_000),
    photo_height=st.integers(0, 10_000),
    score_threshold=shares,
    iou_threshold=shares,
    max_detections=st.none() | st.integers(1, 1000),
    top_k=st.none() | st.integers(1, 1000),
    raw=st.booleans(),
).filter(lambda call: bool(call.photo_width) == bool(call.photo_height))
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)
codes = hnp.arrays(np.uint8, shapes) | hnp.arrays(np.float32, shapes, elements=st.floats(width=32))
tensors = st.lists(st.tuples(texts, codes), max_size=3)
loads = st.builds(CloudLoad, st.floats(0, 1e6), st.integers(1, 64), st.floats(0, 1), st.floats(0, 1e6))


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@given(calls, tensors)
def test_a_request_comes_back_as_it_was_built(call: InferCall, sent: list[tuple[str, np.ndarray]]):
    message = ModelInferRequest.FromString(build_request(call, sent).SerializeToString())
    found, received = parse_request(message)
    assert found == call
    assert [tensor.name for tensor in received] == [name for name, _ in sent]
    for tensor, (_, expected) in zip(received, sent, strict=True):
        assert same(unpack(tensor, call.codec), expected)


@given(calls, st.binary(max_size=100))
def test_a_photo_comes_back_as_it_was_sent(call: InferCall, photo: bytes):
    message = ModelInferRequest.FromString(build_photo_request(call, photo).SerializeToString())
    found, (tensor,) = parse_request(message)
    assert found == call
    assert (tensor.name, tensor.datatype, tensor.shape) == ("photo", "BYTES", (1,))
    assert photo_of(tensor) == photo


@given(
    calls,
    st.dictionaries(texts, codes, max_size=3),
    st.none() | st.floats(0, 1e5),
    st.none() | st.floats(0, 1e5),
    texts,
    st.none() | loads,
    texts,
)
def test_a_reply_comes_back_as_it_was_built(
    call: InferCall,
    outputs: dict[str, np.ndarray],
    queue_ms: float | None,
    service_ms: float | None,
    digest: str,
    load: CloudLoad | None,
    backend: str,
):
    reply = InferReply(outputs, queue_ms, service_ms, digest, load, backend)
    found = parse_response(ModelInferResponse.FromString(build_response(call, reply).SerializeToString()))
    assert (found.queue_ms, found.service_ms, found.digest, found.load) == (queue_ms, service_ms, digest, load)
    assert found.backend == backend
    assert found.tensors.keys() == outputs.keys()
    assert all(same(found.tensors[name], tensor) for name, tensor in outputs.items())


@given(loads)
def test_a_load_travels_in_trailing_metadata(load: CloudLoad):
    assert CloudLoad.from_metadata((("other", "x"), *load.to_metadata())) == load


@pytest.mark.parametrize("metadata", [None, (), (("edgedet-load-workers", "1"),)])
def test_metadata_without_a_whole_load_is_none(metadata: tuple[tuple[str, str], ...] | None):
    assert CloudLoad.from_metadata(metadata) is None


def test_a_foreign_servers_reply_has_neither_times_nor_load():
    response = ModelInferResponse()
    response.outputs.add(name="head", datatype="UINT8", shape=(1, 2))
    response.raw_output_contents.append(b"ab")
    reply = parse_response(response)
    assert (reply.queue_ms, reply.service_ms, reply.digest, reply.load) == (None, None, "", None)
    assert reply.tensors["head"].tolist() == [[97, 98]]


BAD_PARAMETERS = {
    "boundary must be int": {"boundary": "3"},
    "boundary must be int, got True": {"boundary": True},
    "codec must be raw or zstd": {"codec": "gzip"},
    "codec must be str": {"codec": 1},
    "must not be negative": {"boundary": -1},
    "photo_height must not be negative": {"photo_height": -5},
    "photo_width and photo_height go together": {"photo_width": 640},
    "photo_width and photo_height go together; one": {"photo_width": 0, "photo_height": 480},
    "score_threshold must be in": {"score_threshold": 1.5},
    "score_threshold must be float": {"score_threshold": "high"},
    "iou_threshold must be in": {"iou_threshold": float("nan")},
    "max_detections must be in": {"max_detections": 0},
    "top_k must be in": {"top_k": 1001},
    "raw must be bool": {"raw": 1},
}


def with_parameters(values: dict[str, object]) -> ModelInferRequest:
    request = ModelInferRequest(model_name="m")
    for name, value in values.items():
        kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
        setattr(request.parameters[name], kinds[type(value)], value)
    return request


@pytest.mark.parametrize(("reason", "values"), BAD_PARAMETERS.items(), ids=BAD_PARAMETERS)
def test_a_parameter_of_the_wrong_kind_or_size_is_named(reason: str, values: dict[str, object]):
    with pytest.raises(WireError, match=reason):
        parse_request(with_parameters(values))


def test_a_parameter_without_a_value_is_refused():
    request = ModelInferRequest()
    request.parameters["boundary"].SetInParent()
    with pytest.raises(WireError, match="boundary must be int, got None"):
        parse_request(request)


def test_parameters_of_others_are_passed_over():
    call, _ = parse_request(with_parameters({"triton_enable_empty_final_response": True, "boundary": 2}))
    assert call.boundary == 2


def test_typed_contents_are_refused():
    request = ModelInferRequest()
    request.inputs.add(name="x", datatype="UINT8", shape=(1,)).contents.uint_contents.append(1)
    with pytest.raises(WireError, match="typed contents are not taken"):
        parse_request(request)


BAD_TENSORS = {
    "known are UINT8, FP32": WireTensor("x", "INT64", (1,), bytes(8)),
    "has 3 bytes, its shape": WireTensor("x", "UINT8", (2, 2), bytes(3)),
    "has 5 bytes, its shape": WireTensor("x", "UINT8", (2, 2), bytes(5)),
    "needs 16": WireTensor("x", "FP32", (2, 2), bytes(4)),
    "negative size": WireTensor("x", "UINT8", (-1, -4), bytes(4)),
    "has 0 bytes": WireTensor("x", "UINT8", (2**32, 2**32), b""),
    "'x' has a shape that no array has": WireTensor("x", "UINT8", (1,) * 65, bytes(1)),
    "has a shape that no array has: ": WireTensor("x", "UINT8", (0, 2**62, 2**62), b""),
}


@pytest.mark.parametrize(("reason", "tensor"), BAD_TENSORS.items(), ids=BAD_TENSORS)
def test_contents_that_do_not_fit_the_shape_are_refused(reason: str, tensor: WireTensor):
    with pytest.raises(WireError, match=reason):
        unpack(tensor, "raw")


def packed(content: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(level=1, **options).compress(content)


BAD_FRAMES = {
    "a bomb": packed(bytes(1 << 20)),
    "too little": packed(bytes(3)),
    "no size in front": packed(bytes(4), write_content_size=False),
    "junk": b"junk",
    "nothing": b"",
    "a cut frame": packed(bytes(range(4)))[:-2],
    "junk behind the frame": packed(bytes(4)) + b"junk",
    "a second frame": packed(bytes(4)) + packed(bytes(1 << 20)),
}


@pytest.mark.parametrize("data", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_that_unpacks_to_anything_but_the_shape_is_refused(data: bytes):
    with pytest.raises(WireError, match="'x'"):
        unpack(WireTensor("x", "UINT8", (2, 2), data), "zstd")


def test_a_bomb_that_lies_about_its_size_is_refused():
    bomb = bytearray(packed(bytes(200_000)))  # magic, descriptor (single segment, 4-byte size), size
    assert bomb[4] >> 6 == 2
    bomb[5:9] = (4).to_bytes(4, "little")
    assert zstandard.frame_content_size(bytes(bomb)) == 4
    with pytest.raises(WireError, match="not a zstd frame"):
        unpack(WireTensor("x", "UINT8", (2, 2), bytes(bomb)), "zstd")


@given(st.binary(max_size=200))
def test_junk_never_unpacks_to_more_than_its_shape(data: bytes):
    try:
        tensor = unpack(WireTensor("x", "UINT8", (3, 5), data), "zstd")
    except WireError:
        return
    assert tensor.shape == (3, 5)


@pytest.mark.parametrize("data", [b"", b"\x01\0\0\0", b"\x05\0\0\0abc", b"\x02\0\0\0abc"])
def test_a_photo_whose_length_is_wrong_is_refused(data: bytes):
    with pytest.raises(WireError, match="BYTES tensor"):
        photo_of(WireTensor("photo", "BYTES", (1,), data))


def test_a_reply_with_missing_contents_or_a_broken_load_is_refused():
    response = ModelInferResponse()
    response.outputs.add(name="head", datatype="UINT8", shape=(1,))
    with pytest.raises(WireError, match="raw_output_contents: 0 for 1"):
        parse_response(response)
    response = ModelInferResponse()
    response.parameters["backlog_ms"].double_param = 1.0
    with pytest.raises(WireError, match="workers"):
        parse_response(response)


@pytest.mark.parametrize("name", ["queue_ms", "service_ms", "backlog_ms", "workers", "utilization", "mean_service_ms"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_number_that_would_stay_in_averages_is_refused(name: str, value: float):
    response = build_response(InferCall("m"), InferReply({}, 1.0, 1.0, "", CloudLoad(1.0, 1, 0.5, 1.0)))
    response.parameters[name].double_param = value
    with pytest.raises(WireError, match="not a finite number from 0 on"):
        parse_response(response)
    load = dict(CloudLoad(1.0, 1, 0.5, 1.0).to_metadata())
    key = f"edgedet-load-{name.replace('_', '-')}"
    if key in load:
        with pytest.raises(ValueError, match="not a finite number from 0 on"):
            CloudLoad.from_metadata((load | {key: str(value)}).items())
