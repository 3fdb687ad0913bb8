"""What EdgeDet says in Open Inference Protocol messages: a boundary's tensors out, the finished task back.

Model name and version are the package's. Request parameters: `boundary`, `codec` (raw or zstd), `digest`,
`photo_width`, `photo_height`, the thresholds or `top_k`, and `raw` for the network's outputs instead of the answer.
At boundary 0 one BYTES tensor holds the photo's own bytes. Reply parameters: `queue_ms`, `service_ms`, `digest`,
`backend` and the load as of the reply; errors carry the load in their trailing metadata.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from edgedet_proto.cloud_load import CloudLoad, measure
from edgedet_proto.inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

Codec = Literal["raw", "zstd"]
PHOTO_TENSOR = "photo"
RECEIVED_KEY = "edgedet-received"
"""Initial metadata, sent when the request has arrived whole: the sender learns when its upload ended."""
RETRY_KEY = "edgedet-retry-after-ms"
_DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
_DTYPES = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype(np.float32)}
_ZSTD_LEVEL = 1


class WireError(ValueError):
    """A message that does not keep to the protocol; the text names the field."""


@dataclass(frozen=True, slots=True)
class InferCall:
    """Everything a request says beside its tensors."""

    model: str
    version: str = ""
    request_id: str = ""
    boundary: int | None = None
    """None: not told; the receiver goes by the tensors' names."""
    codec: Codec = "raw"
    digest: str = ""
    photo_width: int = 0
    photo_height: int = 0
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    top_k: int | None = None
    raw: bool = False


@dataclass(frozen=True, slots=True)
class WireTensor:
    """A tensor as it travels; `data` may be packed."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class InferReply:
    """A finished task or the network's outputs, and how long it took; times are None from a foreign server."""

    tensors: dict[str, NDArray[Any]]
    queue_ms: float | None
    service_ms: float | None
    digest: str
    load: CloudLoad | None
    backend: str = ""
    """What ran the segments; empty from a foreign server."""


_CALL_PARAMETERS = tuple(
    field.name for field in fields(InferCall) if field.name not in ("model", "version", "request_id")
)


def build_request(call: InferCall, tensors: Sequence[tuple[str, NDArray[Any]]]) -> ModelInferRequest:
    """A request with a boundary's live tensors, packed as `call.codec` says."""
    request = _request(call)
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL) if call.codec == "zstd" else None
    for name, tensor in tensors:
        datatype = _DATATYPES[str(tensor.dtype)]
        request.inputs.add(name=name, datatype=datatype, shape=tensor.shape)
        content = np.ascontiguousarray(tensor)
        request.raw_input_contents.append(compressor.compress(content) if compressor else content.tobytes())
    return request


def build_photo_request(call: InferCall, photo: bytes) -> ModelInferRequest:
    """A request at boundary 0: the photo's own bytes."""
    request = _request(call)
    request.inputs.add(name=PHOTO_TENSOR, datatype="BYTES", shape=(1,))
    request.raw_input_contents.append(len(photo).to_bytes(4, "little") + photo)
    return request


def parse_request(request: ModelInferRequest) -> tuple[InferCall, list[WireTensor]]:
    """The inverse of the builders; tensors stay packed.

    Raises:
        WireError: a parameter of the wrong kind, or typed contents instead of raw ones.
    """
    values = {name: _value(request.parameters[name]) for name in _CALL_PARAMETERS if name in request.parameters}
    call = InferCall(request.model_name, request.model_version, request.id, **_checked(values))
    contents = list(request.raw_input_contents)  # each access copies
    if len(contents) != len(request.inputs):
        raise WireError(
            f"raw_input_contents: {len(contents)} for {len(request.inputs)} inputs; typed contents are not taken"
        )
    tensors = [
        WireTensor(spec.name, spec.datatype, tuple(spec.shape), data)
        for spec, data in zip(request.inputs, contents, strict=True)
    ]
    return call, tensors


def photo_of(tensor: WireTensor) -> bytes:
    """The photo in a BYTES tensor of one element.

    Raises:
        WireError: the length in front is not that of the rest.
    """
    length, photo = tensor.data[:4], tensor.data[4:]
    if len(length) != 4 or int.from_bytes(length, "little") != len(photo):
        raise WireError("inputs: a BYTES tensor holds one element, its length in four bytes (little endian) in front")
    return photo


def unpack(tensor: WireTensor, codec: Codec) -> NDArray[Any]:
    """The tensor's values; never more bytes than its shape has.

    Raises:
        WireError: an unknown datatype, or contents of another size than the shape's.
    """
    dtype = _DTYPES.get(tensor.datatype)
    if dtype is None:
        raise WireError(f"inputs: {tensor.name!r} has datatype {tensor.datatype!r}; known are {', '.join(_DTYPES)}")
    if any(size < 0 for size in tensor.shape):
        raise WireError(f"inputs: {tensor.name!r} has a negative size in its shape {tensor.shape}")
    nbytes = math.prod(tensor.shape) * dtype.itemsize
    data = _decompressed(tensor, nbytes) if codec == "zstd" else tensor.data
    if len(data) != nbytes:
        raise WireError(f"inputs: {tensor.name!r} has {len(data)} bytes, its shape {tensor.shape} needs {nbytes}")
    try:
        return np.frombuffer(data, dtype).reshape(tensor.shape)
    except ValueError as error:  # more dimensions, or a larger size beside one of 0, than arrays have
        raise WireError(f"inputs: {tensor.name!r} has a shape that no array has: {error}") from error


def build_response(call: InferCall, reply: InferReply) -> ModelInferResponse:
    """The reply to a call."""
    response = ModelInferResponse(model_name=call.model, model_version=call.version, id=call.request_id)
    load = {field.name: getattr(reply.load, field.name) for field in fields(CloudLoad)} if reply.load else {}
    told = {
        "queue_ms": reply.queue_ms,
        "service_ms": reply.service_ms,
        "digest": reply.digest,
        "backend": reply.backend,
    }
    for name, value in {**told, **load}.items():
        if value not in (None, ""):
            response.parameters[name].CopyFrom(_parameter(value))
    for name, tensor in reply.tensors.items():
        response.outputs.add(name=name, datatype=_DATATYPES[str(tensor.dtype)], shape=tensor.shape)
        response.raw_output_contents.append(np.ascontiguousarray(tensor).tobytes())
    return response


def parse_response(response: ModelInferResponse) -> InferReply:
    """The inverse of `build_response`; a foreign server's reply has neither times nor load.

    Raises:
        WireError: contents that do not fit the outputs.
    """
    contents = list(response.raw_output_contents)
    if len(contents) != len(response.outputs):
        raise WireError(f"raw_output_contents: {len(contents)} for {len(response.outputs)} outputs")
    tensors = {
        spec.name: unpack(WireTensor(spec.name, spec.datatype, tuple(spec.shape), data), "raw")
        for spec, data in zip(response.outputs, contents, strict=True)
    }
    values = {name: _value(parameter) for name, parameter in response.parameters.items()}
    try:
        load = CloudLoad.of(values) if "backlog_ms" in values else None
        queue_ms, service_ms = (measure(values[n]) if n in values else None for n in ("queue_ms", "service_ms"))
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"parameters: {error}") from error
    return InferReply(
        tensors, queue_ms, service_ms, str(values.get("digest", "")), load, str(values.get("backend", ""))
    )


def _request(call: InferCall) -> ModelInferRequest:
    request = ModelInferRequest(model_name=call.model, model_version=call.version, id=call.request_id)
    for name in _CALL_PARAMETERS:
        value = getattr(call, name)
        if value is not None:
            request.parameters[name].CopyFrom(_parameter(value))
    return request


def _parameter(value: object) -> InferParameter:
    match value:
        case bool():
            return InferParameter(bool_param=value)
        case int():
            return InferParameter(int64_param=value)
        case float():
            return InferParameter(double_param=value)
        case _:
            return InferParameter(string_param=str(value))


def _value(parameter: InferParameter) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, kind) if kind else None


_KINDS: dict[str, tuple[type, ...]] = {
    "boundary": (int,),
    "codec": (str,),
    "digest": (str,),
    "photo_width": (int,),
    "photo_height": (int,),
    "score_threshold": (float, int),
    "iou_threshold": (float, int),
    "max_detections": (int,),
    "top_k": (int,),
    "raw": (bool,),
}


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "raw"):
            raise WireError(f"parameters: {name} must be {_KINDS[name][0].__name__}, got {value!r}")
    if values.get("codec", "raw") not in ("raw", "zstd"):
        raise WireError(f"parameters: codec must be raw or zstd, got {values['codec']!r}")
    if any(values.get(name, 1) < low for name, low in (("boundary", 0), ("photo_width", 0), ("photo_height", 0))):
        raise WireError("parameters: boundary, photo_width and photo_height must not be negative")
    if bool(values.get("photo_width")) != bool(values.get("photo_height")):
        raise WireError("parameters: photo_width and photo_height go together; one of them alone places no box")
    for name in ("score_threshold", "iou_threshold"):
        if not 0 <= values.get(name, 0) <= 1:
            raise WireError(f"parameters: {name} must be in 0…1, got {values[name]}")
    for name in ("max_detections", "top_k"):
        if not 1 <= values.get(name, 1) <= 1000:
            raise WireError(f"parameters: {name} must be in 1…1000, got {values[name]}")
    return values


def _decompressed(tensor: WireTensor, nbytes: int) -> bytes:
    try:
        announced = zstandard.frame_content_size(tensor.data)
        # The frame tells its size; one that tells another, or none, is not even begun.
        if announced != nbytes:
            raise WireError(f"inputs: {tensor.name!r} unpacks to {announced} bytes, its shape needs {nbytes}")
        return zstandard.ZstdDecompressor().decompress(tensor.data, max_output_size=nbytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError(f"inputs: {tensor.name!r} is not a zstd frame: {error}") from error
