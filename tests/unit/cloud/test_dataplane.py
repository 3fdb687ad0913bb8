"""The data plane without gRPC: admission, leaving, faults, draining; the real network, with a gate before a segment."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgedet_cloud.dataplane import CloudCenter
from edgedet_cloud.errors import BadCall, DigestDiffers, Draining, Expired, Faulty, ModelUnknown, QueueFull
from edgedet_cloud.served_model import ServedModel, load_models
from edgedet_proto.wire import InferCall, InferReply, WireTensor
from edgedet_runtime.backend import RunContext, Runner, RunResult, Tensor
from edgedet_runtime.profile import made_up_tensors
from structlog.testing import capture_logs

LONGEST_S = 10.0
NAME = "yolov3-tiny-coco"


@pytest.fixture(scope="module")
def model(models: Path) -> ServedModel:
    return next(model for model in load_models(models) if model.package.manifest.name == NAME)


@pytest.fixture(scope="module")
def tensors(model: ServedModel) -> list[WireTensor]:
    """What boundary 6 carries."""
    return [
        WireTensor(name, "UINT8", tensor.shape, tensor.tobytes())
        for name, tensor in made_up_tensors(model.chain, 6).items()
    ]


class Gate:
    """A runner that waits to be opened; `entered` counts the runs that reached it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.runs = 0

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:
        self.runs += 1
        self.entered.release()
        assert self._open.wait(LONGEST_S)
        return self._runner.run(tensors, context)

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=LONGEST_S)


@pytest.fixture
def gate(model: ServedModel) -> Iterator[Gate]:
    """Before the last segment."""
    gate = Gate(model.chain.stages[-1].runner)
    yield gate
    gate.open()


@pytest.fixture
def gated(model: ServedModel, gate: Gate) -> ServedModel:
    stages = (*model.chain.stages[:-1], replace(model.chain.stages[-1], runner=gate))
    profile = replace(model.profile, segment_ms=[10.0] * 7, decode_ms=1.0, postprocess_ms=0.0)
    return replace(model, chain=replace(model.chain, stages=stages), profile=profile)


def call_of(**changes: object) -> InferCall:
    return InferCall(**{"model": NAME, "boundary": 6, **changes})


async def infer(
    center: CloudCenter, call: InferCall, tensors: Sequence[WireTensor], remaining_ms: float | None
) -> InferReply:
    with center.accepted(sum(len(tensor.data) for tensor in tensors)):
        return await center.infer(call, tensors, remaining_ms)


def with_center(served: ServedModel, scene: Callable[[CloudCenter], Awaitable[None]], threads: int = 1) -> None:
    async def play() -> None:
        center = CloudCenter([served], threads, max_megapixels=40)
        center.start()
        await asyncio.wait_for(scene(center), LONGEST_S)
        await center.drain(LONGEST_S)
        load = center.load_now()
        assert load.backlog_ms == 0, "work stayed in the books"

    asyncio.run(play())


def test_a_tail_is_finished_and_the_times_are_told(model: ServedModel, tensors: list[WireTensor]):
    async def scene(center: CloudCenter) -> None:
        reply = await infer(center, call_of(), tensors, 5000)
        assert reply.tensors["detections"].shape[1] == 6
        assert reply.digest == model.package.digest
        assert reply.backend == "onnxruntime"
        assert reply.queue_ms >= 0
        assert reply.service_ms > 0
        assert center.load_now().workers == 1

    with_center(model, scene)


def test_tensors_may_come_in_any_order_and_without_a_boundary(model: ServedModel, tensors: list[WireTensor]):
    async def scene(center: CloudCenter) -> None:
        expected = await infer(center, call_of(raw=True), tensors, None)
        found = await infer(center, call_of(raw=True, boundary=None), tensors[::-1], None)
        assert found.tensors.keys() == {"head_32", "head_16"}
        assert all(np.array_equal(found.tensors[name], expected.tensors[name]) for name in expected.tensors)

    with_center(model, scene)


def test_a_call_that_would_wait_past_its_deadline_is_refused_with_a_time(gated: ServedModel, tensors, gate: Gate):
    async def scene(center: CloudCenter) -> None:
        first = asyncio.create_task(infer(center, call_of(), tensors, 5000))
        await gate.reached()
        waiting = [asyncio.create_task(infer(center, call_of(), tensors, 5000)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="until the deadline") as refusal:
            await infer(center, call_of(), tensors, 25)
        # Three calls of 10 ms wait, one runs (up to 10 ms left), and its own 10 ms: 40 to 50 ms, 25 are there.
        assert 15 <= refusal.value.retry_after_ms <= 25
        gate.open()
        await asyncio.gather(first, *waiting)

    with_center(gated, scene)


def test_an_idle_cloud_takes_a_call_that_its_estimate_calls_late(model: ServedModel, tensors: list[WireTensor]):
    slow = replace(model, profile=replace(model.profile, segment_ms=[1e6] * 7))

    async def scene(center: CloudCenter) -> None:
        await infer(center, call_of(), tensors, 5000)

    with_center(slow, scene)
    assert slow.profile.segment_ms[-1] < 1e6


def test_a_call_without_a_deadline_runs_as_long_as_it_takes(
    model: ServedModel, tensors: list[WireTensor], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edgedet_cloud.dataplane._LONGEST_MS", 10.0)  # of waiting
    first = Gate(model.chain.stages[5].runner)
    stages = (*model.chain.stages[:5], replace(model.chain.stages[5], runner=first), model.chain.stages[6])
    served = replace(model, chain=replace(model.chain, stages=stages))
    early = [
        WireTensor(name, "UINT8", tensor.shape, tensor.tobytes())
        for name, tensor in made_up_tensors(model.chain, 5).items()
    ]

    async def scene(center: CloudCenter) -> None:
        call = asyncio.create_task(infer(center, call_of(boundary=5), early, None))
        await first.reached()
        with pytest.raises(QueueFull):
            await infer(center, call_of(), tensors, None)
        await asyncio.sleep(0.02)
        first.open()
        assert (await call).service_ms > 10.0

    slow = replace(served, profile=replace(model.profile, segment_ms=[1000.0] * 7))
    with_center(slow, scene)


def test_only_photos_tell_how_long_decoding_takes(model: ServedModel):
    spec = model.package.manifest.input.tensor
    image = [WireTensor(spec.name, "UINT8", spec.shape, bytes(spec.nbytes))]
    served = replace(model, profile=replace(model.profile, segment_ms=[1.0] * 7, decode_ms=1e6))

    async def scene(center: CloudCenter) -> None:
        await infer(center, call_of(boundary=0), image, 5000)

    with_center(served, scene)
    assert served.profile.decode_ms == 1e6


def test_the_queue_is_bounded_whatever_the_deadlines(gated: ServedModel, tensors: list[WireTensor], gate: Gate):
    async def scene(center: CloudCenter) -> None:
        calls = [asyncio.create_task(infer(center, call_of(), tensors, None)) for _ in range(center.most_open)]
        await gate.reached()
        with pytest.raises(QueueFull, match=r"64 calls of \d+ MB are open already") as refusal:
            await infer(center, call_of(), tensors, None)
        assert refusal.value.retry_after_ms > 0
        gate.open()
        await asyncio.gather(*calls)

    with_center(gated, scene)


def test_what_calls_hold_is_bounded_in_bytes_but_one_is_always_taken(model: ServedModel):
    async def scene(center: CloudCenter) -> None:
        refused = pytest.raises(QueueFull, match="1 calls of 315 MB are open already")
        with center.accepted(300 << 20), refused, center.accepted(1):
            raise AssertionError("taken")
        with center.accepted(100 << 20), center.accepted(20 << 20):
            pass

    with_center(model, scene)


def test_a_client_that_leaves_is_not_computed_for(gated: ServedModel, tensors: list[WireTensor], gate: Gate):
    async def scene(center: CloudCenter) -> None:
        first = asyncio.create_task(infer(center, call_of(), tensors, 5000))
        await gate.reached()
        leaving = [asyncio.create_task(infer(center, call_of(), tensors, 5000)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        gate.open()
        await first
        await infer(center, call_of(), tensors, 5000)
        assert gate.runs == 2

    with_center(gated, scene)


def test_a_running_call_whose_client_leaves_stops_at_the_next_segment(gated: ServedModel, gate: Gate):
    """The gate stands before the last of seven segments; the photo's call is cancelled in front of it."""
    early = Gate(gated.chain.stages[0].runner)
    stages = (replace(gated.chain.stages[0], runner=early), *gated.chain.stages[1:])
    served = replace(gated, chain=replace(gated.chain, stages=stages))
    spec = served.package.manifest.input.tensor
    image = [WireTensor(spec.name, "UINT8", spec.shape, bytes(spec.nbytes))]

    async def scene(center: CloudCenter) -> None:
        task = asyncio.create_task(infer(center, call_of(boundary=0), image, 5000))
        await early.reached()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        early.open()

    with_center(served, scene)
    assert gate.runs == 0


def test_an_expired_call_is_dropped_before_it_costs_work(gated: ServedModel, tensors: list[WireTensor], gate: Gate):
    async def scene(center: CloudCenter) -> None:
        first = asyncio.create_task(infer(center, call_of(), tensors, 5000))
        await gate.reached()
        late = asyncio.create_task(infer(center, call_of(), tensors, 30))
        await asyncio.sleep(0.05)
        gate.open()
        await first
        with pytest.raises(Expired):
            await late
        assert gate.runs == 1

    with_center(gated, scene)


def test_a_fault_ends_as_internal_and_the_next_call_is_served(model: ServedModel, tensors: list[WireTensor]):
    class Broken:
        def default_choices(self) -> int:
            return 5

        def finish(self, *_: object) -> None:
            raise ZeroDivisionError("a bug")

    broken = replace(model, finisher=Broken())

    async def scene(center: CloudCenter) -> None:
        with pytest.raises(Faulty):
            await infer(center, call_of(), tensors, 5000)
        reply = await infer(center, call_of(raw=True), tensors, 5000)
        assert isinstance(reply, InferReply)

    with capture_logs() as events:
        with_center(broken, scene)
    assert [(event["event"], event["exc_info"]) for event in events] == [("a call failed", True)]


def test_draining_answers_what_was_accepted_and_refuses_what_comes(gated: ServedModel, tensors, gate: Gate):
    async def scene(center: CloudCenter) -> None:
        accepted = [asyncio.create_task(infer(center, call_of(), tensors, 5000)) for _ in range(3)]
        await gate.reached()
        draining = asyncio.create_task(center.drain(LONGEST_S))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await infer(center, call_of(), tensors, 5000)
        assert not draining.done()
        gate.open()
        assert len(await asyncio.gather(*accepted)) == 3
        await draining

    with_center(gated, scene)


def test_several_workers_run_side_by_side(gated: ServedModel, tensors: list[WireTensor], gate: Gate):
    async def scene(center: CloudCenter) -> None:
        calls = [asyncio.create_task(infer(center, call_of(), tensors, 5000)) for _ in range(2)]
        await gate.reached()
        await gate.reached()
        gate.open()
        await asyncio.gather(*calls)

    with_center(gated, scene, threads=2)


def test_what_does_not_fit_is_refused_before_it_waits(model: ServedModel, tensors: list[WireTensor]):
    one, two = tensors
    photo = WireTensor("photo", "BYTES", (1,), b"\x03\0\0\0abc")
    cases: list[tuple[type[Exception], str, InferCall, list[WireTensor]]] = [
        (ModelUnknown, "is not served; there are: yolov3-tiny-coco:1", call_of(model="other"), tensors),
        (ModelUnknown, "version '9' is not served", call_of(version="9"), tensors),
        (DigestDiffers, "here has", call_of(digest="0" * 64), tensors),
        (BadCall, "there is no tensor", call_of(), []),
        (BadCall, "not the live tensors of boundary 6", call_of(), [one]),
        (BadCall, "not the live tensors of boundary 6", call_of(), [one, one]),
        (BadCall, "not the live tensors of boundary 7", call_of(boundary=7), tensors),
        (BadCall, "not the live tensors of boundary 99", call_of(boundary=99), tensors),
        (BadCall, "not the live tensors of any boundary", call_of(boundary=None), [two]),
        (BadCall, "boundary 6 carries", call_of(), [one, replace(two, shape=(1, 13, 256, 13))]),
        (BadCall, "boundary 6 carries", call_of(), [one, replace(two, datatype="FP32")]),
        (BadCall, "stands alone", call_of(boundary=2), [photo]),
        (BadCall, "stands alone", call_of(boundary=0), [photo, photo]),
        (BadCall, "neither JPEG nor PNG", call_of(boundary=0), [photo]),
        (BadCall, "has 3 bytes", call_of(), [one, replace(two, data=b"abc")]),
        (BadCall, "not a zstd frame", call_of(codec="zstd"), tensors),
    ]

    async def scene(center: CloudCenter) -> None:
        for kind, reason, call, sent in cases:
            with pytest.raises(kind, match=reason):
                await infer(center, call, sent, 5000)

    with_center(model, scene)
