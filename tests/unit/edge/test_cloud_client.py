"""What an empty call tells of a cloud."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from edgedet_edge.cloud_client import CloudClient
from edgedet_edge.errors import CloudFailed
from edgedet_proto import inference_pb2 as pb
from edgedet_proto.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

from demo.processes import free_port


class Aborting(GRPCInferenceServiceServicer):
    """Ends every empty call with a status."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK

    def ServerLive(self, request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:  # noqa: N802
        """As told."""
        if self.code is not grpc.StatusCode.OK:
            context.abort(self.code, "as told")
        return pb.ServerLiveResponse(live=True)


@pytest.fixture(scope="module")
def aborting() -> Iterator[tuple[Aborting, str]]:
    servicer, server = Aborting(), grpc.server(ThreadPoolExecutor(1))
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


def round_trip_ms(address: str, timeout_s: float = 10.0) -> float:
    async def measured() -> float:
        client = CloudClient(address)
        try:
            return await client.round_trip_ms(timeout_s)
        finally:
            await client.close()

    return asyncio.run(measured())


def test_a_cloud_is_not_asked_by_the_proxy_of_the_environment(
    aborting: tuple[Aborting, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servicer, address = aborting
    servicer.code = grpc.StatusCode.OK
    for name, value in (("http_proxy", f"http://127.0.0.1:{free_port()}"), ("no_proxy", ""), ("no_grpc_proxy", "")):
        monkeypatch.setenv(name, value)
    assert 0 < round_trip_ms(address) < 10_000


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_cloud_with_too_many_calls_is_as_far_away_as_ever(
    aborting: tuple[Aborting, str], code: grpc.StatusCode
) -> None:
    servicer, address = aborting
    servicer.code = code
    assert 0 < round_trip_ms(address) < 10_000


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_a_cloud_that_fails_is_told(aborting: tuple[Aborting, str], code: grpc.StatusCode) -> None:
    servicer, address = aborting
    servicer.code = code
    with pytest.raises(CloudFailed, match=rf"^{address}: {code.name}: as told"):
        round_trip_ms(address)


def test_a_cloud_that_is_not_there_is_told() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(CloudFailed, match=rf"^{address}: "):
        round_trip_ms(address, timeout_s=2.0)
