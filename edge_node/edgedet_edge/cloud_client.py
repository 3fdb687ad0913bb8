"""One cloud over gRPC (Open Inference Protocol v2): calls out, replies and typed errors back."""

import time
from collections.abc import Callable
from typing import Any

import grpc
from edgedet_proto import inference_pb2 as pb
from edgedet_proto import inference_pb2_grpc as pb_grpc
from edgedet_proto.cloud_load import CloudLoad
from edgedet_proto.infer_call import InferCaller
from edgedet_proto.wire import InferReply, WireError, parse_response

from edgedet_edge.errors import CloudFailed, CloudLate, CloudRefused, PackageDiffers

# A stopped process still acknowledges packets: pings end its connection within two seconds. Reconnecting is quick.
_OPTIONS = (
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
    # Clouds are named by their own addresses: a proxy that the environment names is for other machines.
    ("grpc.enable_http_proxy", 0),
)
_REFUSALS = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT})
_OTHER_PACKAGE = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND})


class CloudClient:
    """A channel to one cloud; used from the event loop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub: Any = pb_grpc.GRPCInferenceServiceStub(self._channel)
        self._infer = InferCaller(self._channel)

    async def close(self) -> None:
        """End the connection and all calls."""
        await self._channel.close()

    async def round_trip_ms(self, timeout_s: float) -> float:
        """An empty call; one that is refused, as by a cloud with too many calls, has made the trip as well.

        Raises:
            CloudFailed: it failed, or no answer came.
        """
        start_s = time.monotonic()
        try:
            await self._stub.ServerLive(pb.ServerLiveRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            fault = _fault(self.address, error)
            if not isinstance(fault, CloudRefused):
                raise fault from error
        return (time.monotonic() - start_s) * 1000.0

    async def infer(self, request: Any, timeout_s: float, received: Callable[[], None]) -> InferReply:
        """Run a tail there; `received` is called once the cloud has the whole request.

        Raises:
            CloudFault: one of its kinds; cancelling ends the call at the cloud as well.
        """
        try:
            return parse_response(await self._infer(request, timeout_s, received))
        except grpc.aio.AioRpcError as error:
            raise _fault(self.address, error) from error
        except WireError as error:
            raise CloudFailed(f"{self.address}: {error}") from error


def _fault(address: str, error: grpc.aio.AioRpcError) -> CloudRefused | CloudFailed:
    code = error.code()
    metadata = error.trailing_metadata() or ()
    try:
        load = CloudLoad.from_metadata((str(key), value) for key, value in metadata)
    except ValueError:
        load = None  # what a cloud tells of its load must not hide its refusal
    text = f"{address}: {code.name}: {error.details()}"
    if code in _OTHER_PACKAGE:
        return PackageDiffers(text, load)
    if code in _REFUSALS:
        return CloudRefused(text, load)
    return CloudLate(text) if code is grpc.StatusCode.DEADLINE_EXCEEDED else CloudFailed(text)
