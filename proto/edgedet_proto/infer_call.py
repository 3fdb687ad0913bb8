"""ModelInfer as a call that tells when its request has arrived.

On the wire a unary call and a stream of one reply are the same. grpc.aio shows a unary call's initial metadata only
together with its reply; that of a stream as soon as it arrives.
"""

from collections.abc import Callable

import grpc

from edgedet_proto.inference_pb2 import ModelInferRequest, ModelInferResponse
from edgedet_proto.wire import RECEIVED_KEY, WireError

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class InferCaller:
    """Calls ModelInfer over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.unary_stream(
            _METHOD,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )

    async def __call__(
        self, request: ModelInferRequest, timeout_s: float, received: Callable[[], None]
    ) -> ModelInferResponse:
        """The reply; `received` is called as soon as a cloud of ours has the whole request.

        It is not called for a foreign cloud, and may not be when the call ends in the same moment. Cancelling ends the
        call at the cloud as well.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            WireError: the call ended well without a reply.
        """
        call = self._call(request, timeout=timeout_s)
        try:
            metadata = await call.initial_metadata()
            if metadata is not None and RECEIVED_KEY in metadata:
                received()
            response = await call.read()
            await call.code()  # comes with the reply; a call that has ended is not cancelled below
        finally:
            call.cancel()
        if not isinstance(response, ModelInferResponse):
            raise WireError("the call ended without a reply")
        return response
