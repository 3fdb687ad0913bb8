"""Whatever becomes of a probe, its cloud is asked again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from edgedet_edge.catalog import Catalog
from edgedet_edge.cloud_client import CloudClient
from edgedet_edge.errors import CloudFailed
from edgedet_edge.prober import Prober
from edgedet_edge.scheduler import Scheduler
from edgedet_proto.cloud_load import CloudLoad
from edgedet_proto.wire import InferReply
from edgedet_runtime.backend import load_backend
from structlog.testing import capture_logs

CLOUD = "cloud:1"
DEADLINE_S = 20.0


class Troubled(CloudClient):
    """Fails as no cloud should, then as clouds do, then answers."""

    def __init__(self) -> None:
        self.address = CLOUD
        self.troubles: list[Exception] = [RuntimeError("a fault of ours"), CloudFailed("unreachable")]

    async def round_trip_ms(self, timeout_s: float) -> float:
        if self.troubles:
            raise self.troubles.pop(0)
        return 1.0

    async def infer(self, request: Any, timeout_s: float, received: Any) -> InferReply:
        received()
        return InferReply({}, 0.0, 5.0, "", CloudLoad(0.0, 1, 0.0, 5.0))


def test_a_prober_outlives_every_fault_and_tells_it(few_models: Path) -> None:
    models = Catalog.load(few_models, load_backend("onnxruntime"), "", whole=False).models
    scheduler = Scheduler(models, [CLOUD], 1, forward_photos=False)

    async def watched() -> None:
        prober = Prober(scheduler, {CLOUD: Troubled()}, models)
        prober.start()
        async with asyncio.timeout(DEADLINE_S):
            while not lines or lines[-1]["event"] != "cloud answers":  # noqa: ASYNC110  (the log has no event to await)
                await asyncio.sleep(0.02)
        await prober.stop()

    with capture_logs() as lines:
        asyncio.run(watched())
    told = [(line["log_level"], line["event"]) for line in lines]
    assert told == [
        ("error", "probe failed unexpectedly"),
        ("warning", "cloud does not answer"),
        ("info", "cloud answers"),
    ]
    (cloud,) = scheduler.describe_clouds()
    assert cloud["breaker"] == "closed"


@pytest.mark.parametrize("whole", [True, False])
def test_without_a_boundary_clouds_are_not_asked_and_that_is_told(few_models: Path, whole: bool) -> None:
    models = Catalog.load(few_models, load_backend("onnxruntime"), "", whole=whole).models
    scheduler = Scheduler(models, [CLOUD], 1, forward_photos=False)

    async def started() -> int:
        prober = Prober(scheduler, {CLOUD: Troubled()}, models)
        prober.start()
        tasks = len(asyncio.all_tasks()) - 1
        await prober.stop()
        return tasks

    with capture_logs() as lines:
        assert asyncio.run(started()) == (0 if whole else 1)
    assert [line["event"] for line in lines] == (["no package has a boundary: clouds are not used"] if whole else [])
