"""A caller that leaves between the arrival of its call and the library's notice: what is sent fails."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from edgedet_cloud.dataplane import CloudCenter
from edgedet_cloud.served_model import ServedModel, load_models
from edgedet_cloud.server import InferenceService
from structlog.testing import capture_logs

LONGEST_S = 10.0


class LeftCall:
    """A call whose sends fail as the library's do once the stream is gone."""

    def __init__(self) -> None:
        self.sends = 0

    async def send_initial_metadata(self, metadata: Any) -> None:
        self._fail()

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self._fail()

    def set_trailing_metadata(self, metadata: Any) -> None: ...

    def time_remaining(self) -> float:
        return 10.0

    def _fail(self) -> None:
        self.sends += 1
        raise grpc.aio.InternalError("Failed execute_batch")


@pytest.fixture(scope="module")
def served(models: Path) -> ServedModel:
    return load_models(models)[0]


@pytest.mark.parametrize("draining", [False, True], ids=["taken", "refused"])
def test_it_ends_as_a_cancelled_call_and_is_no_fault(served: ServedModel, draining: bool):
    async def play() -> None:
        center = CloudCenter([served], 1, max_megapixels=40)
        center.start()
        center.draining = draining
        call = LeftCall()
        with pytest.raises(asyncio.CancelledError):
            await InferenceService(center, "1").ModelInfer(b"", call)
        assert call.sends == 1
        await asyncio.wait_for(center.drain(LONGEST_S), LONGEST_S)

    with capture_logs() as events:
        asyncio.run(play())
    assert not [event for event in events if event["log_level"] == "error"]
