"""The data plane in this process: what it believes of itself, and the end of every photo."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from edgedet_edge.errors import CloudFailed, DeadlineMissed, Overloaded
from edgedet_edge.execution import settle
from edgedet_edge.job import Job, Outcome, ServedModel
from edgedet_edge.node import EdgeNode, Query, Reply
from edgedet_edge.placement import EdgeOnly, Reason
from edgedet_edge.scheduler import Scheduler
from edgedet_edge.settings import EdgeSettings
from edgedet_runtime.errors import PhotoUndecodable
from edgedet_runtime.photo import read_header
from structlog.testing import capture_logs

LONGEST_S = 20.0
DETECTOR, CLASSIFIER = "yolov3-tiny-coco", "small-lenet-w4a4-mnist"


@pytest.fixture
def node(few_models: Path) -> EdgeNode:
    return EdgeNode.load(EdgeSettings(models=few_models, node_id="here", log_level="warning"))


@pytest.fixture(scope="session")
def photo(sample_photos: list[Path]) -> bytes:
    return sample_photos[1].read_bytes()


def model_of(node: EdgeNode, name: str) -> ServedModel:
    return next(model for model in node.catalog.models if model.package.manifest.name == name)


def with_node(node: EdgeNode, scene: Callable[[], Awaitable[None]]) -> None:
    async def play() -> None:
        await node.start()
        try:
            await asyncio.wait_for(scene(), LONGEST_S)
        finally:
            await node.stop()

    asyncio.run(play())


@pytest.mark.parametrize("stage", ["decoding", "a segment", "the answer"])
def test_an_idle_node_that_believes_too_much_of_itself_measures_again(node: EdgeNode, photo: bytes, stage: str) -> None:
    """As after a pause of the process in that stage of a photo: nothing would ever run again and correct it."""
    profile = model_of(node, CLASSIFIER).profile
    match stage:
        case "decoding":
            profile.observe_decode(1e6, len(photo))
        case "a segment":
            profile.observe_segment(1, 1e6)
        case "the answer":
            profile.observe_postprocess(1e6)

    async def answered() -> Reply:
        while True:
            try:
                return await node.infer(photo, Query("classify"), "again")
            except Overloaded:
                await asyncio.sleep(0.02)

    async def scene() -> None:
        with pytest.raises(Overloaded):
            await node.infer(photo, Query("classify"), "first")
        reply = await answered()
        assert len(reply.body["classes"]) > 0
        assert profile.total_ms < 900

    with_node(node, scene)


def test_a_node_that_has_missed_many_deadlines_answers_again_when_it_is_idle(node: EdgeNode, photo: bytes) -> None:
    profile = model_of(node, CLASSIFIER).profile
    profile.segment_ms[0] += 700.0 - profile.total_ms
    for _ in range(1000):
        node._scheduler.ended(missed=True)

    async def scene() -> None:
        await node.infer(photo, Query("classify", deadline_ms=1000), "idle")

    with_node(node, scene)


def test_edges_do_not_send_all_clients_back_at_the_same_moment(node: EdgeNode, photo: bytes) -> None:
    def told(job: Job) -> int:
        with pytest.raises(Overloaded) as refusal:
            Scheduler(node.catalog.models, [], 1, forward_photos=False).admit(job)
        return refusal.value.retry_after_s

    async def scene() -> None:
        job = job_of(node, photo)
        job.deadline_s = job.accepted_s
        assert {told(job) for _ in range(64)} == {1, 2}

    asyncio.run(scene())


def test_a_refusal_tells_what_is_kept_in_reserve(node: EdgeNode, photo: bytes) -> None:
    profile = model_of(node, CLASSIFIER).profile
    profile.segment_ms[0] += 950.0 - profile.total_ms

    async def scene() -> None:
        with pytest.raises(Overloaded, match=r"take about 950 ms, the deadline is 1000 ms, 10% of it in reserve"):
            await node.infer(photo, Query("classify", deadline_ms=1000), "refused")

    with_node(node, scene)


def test_a_drawing_has_to_be_there_by_the_deadline_as_well(
    node: EdgeNode, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    async def scene() -> None:
        monkeypatch.setattr("edgedet_edge.node.draw_detections", lambda *_: gate.wait(LONGEST_S))
        start_s = time.monotonic()
        try:
            with pytest.raises(DeadlineMissed, match="no answer within 700 ms"):
                await node.infer(photo, Query("detect", deadline_ms=700, draw=True), "drawn")
            assert time.monotonic() - start_s < LONGEST_S / 2
            assert sum(bucket.by_boundary.total() for bucket in node.measurements.buckets()) == 0
        finally:
            gate.set()

    with_node(node, scene)


def job_of(node: EdgeNode, photo: bytes) -> Job:
    """An accepted photo; inside the event loop."""
    now_s = time.monotonic()
    return Job(
        request_id="one",
        model=model_of(node, CLASSIFIER),
        data=photo,
        header=read_header(photo),
        choices=1,
        policy=EdgeOnly(),
        accepted_s=now_s,
        deadline_s=now_s + LONGEST_S,
        answered=asyncio.get_running_loop().create_future(),
    )


@pytest.mark.parametrize("home_is_first", [True, False])
@pytest.mark.parametrize("fault", [DeadlineMissed("late"), PhotoUndecodable("broken")])
def test_of_two_copies_that_failed_the_client_hears_what_happened_here(
    node: EdgeNode, photo: bytes, fault: Exception, home_is_first: bool
) -> None:
    """A handover and its hedge: that the cloud failed is no business of a client's, and would be told as 500."""

    async def scene() -> None:
        sent = job_of(node, photo)
        sent.copies.under_way += 1
        home = sent.copy_for_home("10.0.0.5:9000", Reason.CLOUD_LATE, 250.0)
        ends: list[tuple[Job, Outcome | Exception]] = [(home, fault), (sent, CloudFailed("10.0.0.5:9000: INTERNAL"))]
        for job, end in ends if home_is_first else reversed(ends):
            assert not sent.answered.done()
            settle(job, end)
        assert sent.answered.exception() is fault

    asyncio.run(scene())


def test_what_a_cloud_took_for_nothing_is_in_the_stages_of_the_answer(node: EdgeNode, photo: bytes) -> None:
    async def scene() -> None:
        sent = job_of(node, photo)
        home = sent.copy_for_home("10.0.0.5:9000", Reason.CLOUD_FAILED, 250.0)
        again = home.copy_for_home("10.0.0.6:9000", Reason.CLOUD_FAILED, 50.0)
        assert (sent.timing.transfer, home.timing.transfer, again.timing.transfer) == (0.0, 250.0, 300.0)

    asyncio.run(scene())


def test_a_cloud_that_is_not_there_is_told_once(few_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    node = EdgeNode.load(EdgeSettings(models=few_models, cloud=(address,)))

    async def scene() -> None:
        awaited = ["open", "half-open", "open"]  # by then the second probe has failed as well
        while awaited:
            (cloud,) = (await node.reports.offload(cluster=False, window_s=60))["clouds"]
            if cloud["breaker"] == awaited[0]:
                awaited.pop(0)
            await asyncio.sleep(0.01)

    with capture_logs() as events:
        with_node(node, scene)
    assert [event["cloud"] for event in events if event["event"] == "cloud does not answer"] == [address]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("10.0.0.7", "http://10.0.0.7:8080"),
        ("::1", "http://[::1]:8080"),
        ("edge", "http://edge:8080"),
        ("0.0.0.0", f"http://{socket.gethostname()}:8080"),
    ],
)
def test_the_cluster_is_told_a_url(node: EdgeNode, host: str, told: str) -> None:
    node.listening_on(host, 8080)
    (edge,) = asyncio.run(node.reports.cluster())["edges"]
    assert edge["address"] == told
