"""More calls than a cloud can compute, clients that leave, and a cloud that is told to stop."""

import asyncio
import signal
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from edgedet_proto.cloud_load import CloudLoad
from edgedet_proto.infer_call import InferCaller
from edgedet_proto.inference_pb2 import ModelInferRequest
from edgedet_proto.inference_pb2_grpc import GRPCInferenceServiceStub
from edgedet_proto.wire import RETRY_KEY, build_photo_request

from demo.processes import Running, free_port, start_cloud, stopping
from tests.integration.edge.asking import wait_for

LONGEST_S = 30.0
OK, EXHAUSTED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def photo_request(edge, sample_photos: list[Path]) -> ModelInferRequest:
    """The dearest call: a photo, all segments."""
    return build_photo_request(edge.call, sample_photos[0].read_bytes())


@pytest.fixture(scope="module")
def tail_request(edge, sample_photos: list[Path]) -> ModelInferRequest:
    return edge.request(sample_photos[0], 6)


def test_a_cloud_beyond_its_capacity_refuses_at_once_and_tells_when_to_try_again(
    cloud: Running, edge, sample_photos: list[Path]
):
    packed = next(request for k, _, request in edge.requests(sample_photos[0], ["zstd"]) if k == 4)

    async def play() -> list[tuple[grpc.StatusCode, dict[str, str]]]:
        async with grpc.aio.insecure_channel(cloud.address) as channel:
            stub = GRPCInferenceServiceStub(channel)
            calls = [stub.ModelInfer(packed, timeout=1.0) for _ in range(150)]
            return [(await call.code(), dict(await call.trailing_metadata())) for call in calls]

    outcomes = asyncio.run(play())
    codes = [code for code, _ in outcomes]
    assert set(codes) <= {OK, EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert OK in codes
    refused = [metadata for code, metadata in outcomes if code == EXHAUSTED]
    assert len(refused) >= 10
    loads = [CloudLoad.from_metadata(metadata.items()) for metadata in refused]
    assert all(load is not None and load.mean_service_ms > 0 for load in loads)
    retries_ms = [int(metadata[RETRY_KEY]) for metadata in refused]
    assert min(retries_ms) > 0
    assert max(retries_ms) > loads[0].mean_service_ms


def test_a_caller_learns_at_once_that_its_request_has_arrived(cloud: Running, photo_request: ModelInferRequest):
    events: list[tuple[str, int]] = []

    async def call(caller: InferCaller, number: int) -> None:
        await caller(photo_request, LONGEST_S, lambda: events.append(("received", number)))
        events.append(("answered", number))

    async def play() -> None:
        async with grpc.aio.insecure_channel(cloud.address) as channel:
            caller = InferCaller(channel)
            await asyncio.gather(*(call(caller, number) for number in range(20)))

    asyncio.run(play())
    assert len(events) == 40
    # Between a call's arrival and its answer others are answered: it waits for its turn.
    waited = [events.index(("answered", n)) - events.index(("received", n)) > 1 for n in range(20)]
    assert sum(waited) >= 10


def test_a_caller_is_told_what_went_wrong(cloud: Running, edge, photo_request: ModelInferRequest):
    async def code_of(address: str, request: ModelInferRequest, timeout_s: float) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await InferCaller(channel)(request, timeout_s, lambda: None)
            return failure.value.code()

    other = build_photo_request(replace(edge.call, model="other"), b"")
    assert asyncio.run(code_of(cloud.address, other, LONGEST_S)) == grpc.StatusCode.NOT_FOUND
    assert asyncio.run(code_of(cloud.address, photo_request, 0.001)) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert asyncio.run(code_of(f"127.0.0.1:{free_port()}", other, LONGEST_S)) == grpc.StatusCode.UNAVAILABLE


def test_clients_that_leave_cost_little_and_leave_no_trace(
    cloud: Running, photo_request: ModelInferRequest, tail_request: ModelInferRequest
):
    async def play() -> float:
        async with grpc.aio.insecure_channel(cloud.address) as channel:
            stub = GRPCInferenceServiceStub(channel)
            for lead_s in (0, 0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05):
                leaving = [stub.ModelInfer(photo_request, timeout=LONGEST_S) for _ in range(20)]
                expiring = [stub.ModelInfer(tail_request, timeout=max(lead_s, 0.0005)) for _ in range(5)]
                await asyncio.sleep(lead_s)
                for call in leaving:
                    call.cancel()
                await asyncio.gather(*leaving, *expiring, return_exceptions=True)
            start_s = time.monotonic()
            response = await stub.ModelInfer(tail_request, timeout=LONGEST_S)
            assert response.parameters["backlog_ms"].double_param == 0
            return time.monotonic() - start_s

    # 160 photos are some seconds of work; all of it was dropped but what ran at the moment.
    assert asyncio.run(play()) < 1
    log = cloud.log.read_text()
    assert "Traceback" not in log
    assert '"exception"' not in log


def test_a_cloud_that_is_told_to_stop_answers_what_it_accepted(
    tmp_path: Path, photo_request: ModelInferRequest, tail_request: ModelInferRequest
):
    async def play(cloud: Running) -> grpc.StatusCode:
        arrived = asyncio.Semaphore(0)
        async with grpc.aio.insecure_channel(cloud.address) as channel:
            caller = InferCaller(channel)
            calls = [asyncio.create_task(caller(photo_request, LONGEST_S, arrived.release)) for _ in range(8)]
            for _ in calls:
                await arrived.acquire()
            cloud.signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, lambda: '"event": "draining"' in cloud.log.read_text(), "draining")
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await caller(tail_request, LONGEST_S, arrived.release)
            assert all(response.outputs for response in await asyncio.gather(*calls))
            return late.value.code()

    with stopping(start_cloud(tmp_path)) as (cloud,):
        # CANCELLED comes from the library, to a call that arrives in the moment in which the port closes.
        assert asyncio.run(play(cloud)) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert cloud.process.wait(LONGEST_S) == 0
        assert '"event": "stopped"' in cloud.log.read_text()
