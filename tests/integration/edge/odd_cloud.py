"""A gRPC server in front of a real cloud: probes pass, photos meet what no cloud of ours would do."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from edgedet_proto import inference_pb2 as pb
from edgedet_proto.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from edgedet_proto.wire import RECEIVED_KEY

Behavior = Callable[[pb.ModelInferResponse, grpc.ServicerContext], pb.ModelInferResponse]


class OddCloud(GRPCInferenceServiceServicer):
    """Asks the cloud behind it and lets `behavior` spoil what it answers to a photo."""

    def __init__(self, target: str, behavior: Behavior) -> None:
        self._channel = grpc.insecure_channel(target)
        self._stub: Any = GRPCInferenceServiceStub(self._channel)
        self._behavior = behavior
        self._server = grpc.server(ThreadPoolExecutor(4))
        add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.leaving = threading.Event()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leaving.set()
        self._server.stop(None).wait()
        self._channel.close()

    def ServerLive(self, request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:  # noqa: N802
        """What measures the round trip."""
        return pb.ServerLiveResponse(live=True)

    def ModelInfer(self, request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:  # noqa: N802
        """Tails."""
        context.send_initial_metadata(((RECEIVED_KEY, "1"),))
        response = self._stub.ModelInfer(request, timeout=10)
        return response if request.id == "probe" else self._behavior(response, context)
