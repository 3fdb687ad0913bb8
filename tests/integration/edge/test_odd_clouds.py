"""What a cloud may answer that ours would not: the photo is answered at home, and the node says so."""

import asyncio
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from edgedet_edge.errors import DeadlineMissed
from edgedet_edge.node import EdgeNode, Query
from edgedet_edge.scheduler import Scheduler
from edgedet_edge.settings import EdgeSettings
from edgedet_proto import inference_pb2 as pb

from demo.processes import Running, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for, wait_for_link
from tests.integration.edge.fused_model import FusedModel
from tests.integration.edge.odd_cloud import Behavior, OddCloud

LONGEST_S = 30.0


@pytest.fixture(scope="module")
def cloud(log_folder: Path) -> Iterator[Running]:
    with stopping(start_cloud(log_folder)) as (cloud,):
        yield cloud


def refuse_with_an_unreadable_load(_: pb.ModelInferResponse, context: grpc.ServicerContext) -> pb.ModelInferResponse:
    context.set_trailing_metadata((("edgedet-load-backlog-ms", "much"), ("edgedet-load-workers", "0")))
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
    raise AssertionError("abort raises")


def answer_something_else(response: pb.ModelInferResponse, _: grpc.ServicerContext) -> pb.ModelInferResponse:
    response.outputs[0].name = "embeddings"
    return response


def answer_too_few_bytes(response: pb.ModelInferResponse, _: grpc.ServicerContext) -> pb.ModelInferResponse:
    response.raw_output_contents[0] = response.raw_output_contents[0][:-1]
    return response


def answer_nothing(_: pb.ModelInferResponse, __: grpc.ServicerContext) -> pb.ModelInferResponse:
    return pb.ModelInferResponse()


def answer_no_numbers(response: pb.ModelInferResponse, _: grpc.ServicerContext) -> pb.ModelInferResponse:
    return with_row(response, [math.nan] * 6)


def answer_a_label_out_of_range(response: pb.ModelInferResponse, _: grpc.ServicerContext) -> pb.ModelInferResponse:
    return with_row(response, [0, 0, 9, 9, 0.5, 80])


def with_row(response: pb.ModelInferResponse, row: list[float]) -> pb.ModelInferResponse:
    response.raw_output_contents[0] = struct.pack("<6f", *row)
    response.outputs[0].shape[:] = [1, 6]
    return response


def answer_after_a_handover(client: httpx.Client, photo: bytes) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        response = detect(client, photo, boundary=2)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        # The link is known a moment before the package is known to be the same.
        return None if answer["route"]["reason"] == "no-cloud" else answer

    return wait_for(ask, "a handover")


def test_a_handover_that_is_open_at_the_deadline_is_a_failed_one(
    cloud: Running, models: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def answer_too_late(response: pb.ModelInferResponse, _: grpc.ServicerContext) -> pb.ModelInferResponse:
        gate.wait(LONGEST_S)
        return response

    async def ask(node: EdgeNode) -> None:
        failures = 0
        await node.start()
        try:
            async with asyncio.timeout(LONGEST_S):
                while not failures:  # the first photos stay at home: no cloud is known yet
                    with suppress(DeadlineMissed):
                        await node.infer(photo, Query("detect", boundary=2, deadline_ms=1000), "one")
                    failures = (await node.reports.offload(cluster=False, window_s=60))["cloud_failures"]
        finally:
            gate.set()
            await node.stop()

    with OddCloud(cloud.address, answer_too_late) as odd:
        settings = EdgeSettings(models=models, cloud=(odd.address,), allow_forced_boundary=True, log_level="warning")
        node = EdgeNode.load(settings)
        # As on a busy edge: no worker is free for a tail that another one may still answer.
        monkeypatch.setattr(Scheduler, "may_hedge", lambda *_: False)
        asyncio.run(ask(node))


@pytest.mark.parametrize(
    "behavior",
    [
        refuse_with_an_unreadable_load,
        answer_something_else,
        answer_too_few_bytes,
        answer_nothing,
        answer_no_numbers,
        answer_a_label_out_of_range,
    ],
)
def test_an_odd_answer_is_a_failed_handover(
    cloud: Running, tmp_path: Path, fused: FusedModel, photo: bytes, behavior: Behavior
) -> None:
    with (
        OddCloud(cloud.address, behavior) as odd,
        stopping(start_edge(tmp_path, "--cloud", odd.address, "--allow-forced-boundary")) as (edge,),
        client_of(edge) as client,
    ):
        wait_for_link(client)
        answer = answer_after_a_handover(client, photo)
        assert answer["detections"] == fused.detect(photo)
        # On a busy machine the tail may have begun here before the odd answer came.
        assert answer["route"]["placement"] == "edge"
        assert answer["route"]["reason"] in {"cloud-failed", "cloud-late"}
        # The tensors went out, whatever came back.
        assert answer["route"]["bytes_sent"] > 0
        report = client.get("/v1/metrics/offload").json()
        assert report["local_tails"] == 1
        # A call that a hedge overtook is given up, or fails a moment before: then it counts as well.
        assert report["cloud_failures"] == 1 or answer["route"]["reason"] == "cloud-late"
        assert not complaints(edge)
