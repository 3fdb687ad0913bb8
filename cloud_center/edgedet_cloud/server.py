"""The gRPC face: protocol messages in and out, errors to statuses; no logic of its own."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import structlog
from edgedet_proto import inference_pb2 as pb
from edgedet_proto.wire import RECEIVED_KEY, RETRY_KEY, WireError, build_response, parse_request
from edgedet_runtime.listening import AddressRefused, listen
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from edgedet_cloud.dataplane import CloudCenter
from edgedet_cloud.errors import BadCall, CloudError, Faulty, QueueFull

log = structlog.get_logger()
_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_LARGEST_PHOTO = 20 << 20
_MESSAGE_SLACK = 1 << 20
_OTHER_CALLS = 64
# Edges ping every second to notice a cloud that is gone; the library's default takes that for an attack.
_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)


class InferenceService:
    """Open Inference Protocol v2 on a `CloudCenter`."""

    def __init__(self, center: CloudCenter, version: str) -> None:
        self._center = center
        self._version = version

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Whether the process answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Whether calls are taken."""
        return pb.ServerReadyResponse(ready=not self._center.draining)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Whether a model is served."""
        try:
            self._center.find(request.name, request.version)
        except CloudError as error:
            await self._abort(context, error)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Name and version."""
        return pb.ServerMetadataResponse(name="edgedet-cloud", version=self._version)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A model's input and outputs; its boundaries are in its manifest."""
        try:
            model = self._center.find(request.name, request.version)
        except CloudError as error:
            await self._abort(context, error)
        manifest = model.package.manifest
        response = pb.ModelMetadataResponse(
            name=manifest.name, versions=[str(manifest.version)], platform=f"edgedet-{model.chain.backend_name}"
        )
        spec = manifest.input.tensor
        response.inputs.add(name=spec.name, datatype="UINT8", shape=spec.shape)
        columns = 6 if manifest.task == "detect" else 2
        name = "detections" if manifest.task == "detect" else "classes"
        response.outputs.add(name=name, datatype="FP32", shape=(-1, columns))
        return response

    async def ModelInfer(self, request: bytes, context: Any) -> Any:  # noqa: N802
        """Run a tail; the message comes as bytes."""
        try:
            with self._center.accepted(len(request)):
                # At once: the edge learns when its upload ended, and measures the link by it.
                with _ending_if_the_caller_left():
                    await context.send_initial_metadata(((RECEIVED_KEY, "1"),))
                return await self._answer(request, context.time_remaining())
        except CloudError as error:
            await self._abort(context, error)
        except Exception:
            log.exception("a call failed")
            await self._abort(context, Faulty("the cloud failed; its log tells why"))

    async def _answer(self, request: bytes, remaining_s: float | None) -> Any:
        start_s = time.monotonic()
        try:
            call, tensors = parse_request(pb.ModelInferRequest.FromString(request))
        except (WireError, DecodeError) as error:
            raise BadCall(str(error)) from error
        reply = await self._center.infer(call, tensors, None if remaining_s is None else remaining_s * 1000.0)
        elapsed_ms = round((time.monotonic() - start_s) * 1000.0, 1)
        log.debug("answered", request_id=call.request_id, model=call.model, boundary=call.boundary, ms=elapsed_ms)
        version = str(self._center.find(call.model, call.version).package.manifest.version)
        return build_response(replace(call, version=version), replace(reply, load=self._center.load_now()))

    async def _abort(self, context: Any, error: CloudError) -> None:
        metadata = self._center.load_now().to_metadata()
        if isinstance(error, QueueFull):
            metadata = (*metadata, (RETRY_KEY, str(max(1, math.ceil(error.retry_after_ms)))))
        log.info("refused", code=error.code.name, reason=str(error))
        context.set_trailing_metadata(metadata)
        with _ending_if_the_caller_left():
            await context.abort(error.code, str(error))


@contextmanager
def _ending_if_the_caller_left() -> Iterator[None]:
    """A message to a caller that just left fails a moment before the library cancels the call; it is no fault."""
    try:
        yield
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error


def address_of(host: str, port: int) -> str:
    """HOST:PORT; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def largest_message(center: CloudCenter) -> int:
    """Bytes of the largest boundary of any package, or of a large photo, and some slack."""
    sizes = [
        sum(spec.nbytes for spec in model.chain.live_tensors(k))
        for model in center.models
        for k in range(model.segment_count)
    ]
    return max([_LARGEST_PHOTO, *sizes]) + _MESSAGE_SLACK


def create_server(center: CloudCenter, version: str) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    """A server with inference, health and reflection; not yet listening."""
    limit = largest_message(center)
    options = (*_OPTIONS, ("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit))
    # Uploads and health checks count too. Above it the library refuses by itself, before it reads a body.
    most_calls = center.most_open + _OTHER_CALLS
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most_calls)
    server.add_generic_rpc_handlers((_handlers(InferenceService(center, version)),))
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection((_DESCRIPTOR.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, health_service


def _handlers(service: InferenceService) -> Any:
    """What the generated code would make, but ModelInfer parses its message itself: the library would answer bytes that
    are no message with UNKNOWN and a stack trace in the log."""
    handlers = {}
    for method in _DESCRIPTOR.methods:
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        handlers[method.name] = grpc.unary_unary_rpc_method_handler(
            getattr(service, method.name),
            request_deserializer=None if method.name == "ModelInfer" else request.FromString,
            response_serializer=response.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(_DESCRIPTOR.full_name, handlers)


async def serve(center: CloudCenter, host: str, port: int, version: str, stop: asyncio.Event, drain_s: float) -> None:
    """Serve until `stop` is set, then answer what was accepted.

    Raises:
        AddressRefused: with the system's reason.
    """
    server, health_service = create_server(center, version)
    try:
        bound = server.add_insecure_port(address_of(host, port))
    except RuntimeError as error:
        listen(host, port).close()  # gRPC keeps to itself what the system says
        raise AddressRefused(f"cannot listen on {address_of(host, port)}: it was taken a moment ago") from error
    center.start()
    await server.start()
    for service in ("", _DESCRIPTOR.full_name):
        await health_service.set(service, health_pb2.HealthCheckResponse.SERVING)
    log.info("ready", host=host, port=bound)
    await stop.wait()
    log.info("draining")
    for service in ("", _DESCRIPTOR.full_name):
        await health_service.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
    await center.drain(drain_s)
    await server.stop(grace=1.0)
    log.info("stopped")
