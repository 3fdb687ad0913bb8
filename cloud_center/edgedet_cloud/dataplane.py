"""The cloud's data plane: admit, queue, run the segments behind a boundary, finish the task; knows no gRPC server."""

import asyncio
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
from edgedet_proto.cloud_load import CloudLoad
from edgedet_proto.wire import InferCall, InferReply, WireError, WireTensor
from edgedet_runtime.backend import RunContext
from edgedet_runtime.errors import PhotoRefused
from edgedet_runtime.workers import WorkerPool

from edgedet_cloud.backlog import Backlog
from edgedet_cloud.errors import BadCall, CloudError, DigestDiffers, Draining, Expired, Faulty, ModelUnknown, QueueFull
from edgedet_cloud.served_model import ServedModel

log = structlog.get_logger()
# A call without a deadline, or with a very late one, is not made to wait longer than this.
_LONGEST_MS = 10_000.0
# Accepted calls hold their tensors (0.1-1 MB each, photos up to 20 MB); these bound them where deadlines do not.
_MOST_OPEN_PER_WORKER = 64
_MOST_HELD_BYTES = 128 << 20
"""Of messages; with the tensors out of them twice as much."""


@dataclass(eq=False, slots=True)
class _Task:
    number: int
    model: ServedModel
    call: InferCall
    boundary: int
    tensors: Sequence[WireTensor]
    arrived_s: float
    deadline_s: float
    done: "asyncio.Future[InferReply]"

    def check_wanted(self) -> None:
        if self.done.cancelled() or time.monotonic() > self.deadline_s:
            raise Expired("the deadline passed, or the client left")


class CloudCenter:
    """Models, one worker pool, one backlog."""

    def __init__(self, models: Sequence[ServedModel], threads: int, max_megapixels: float) -> None:
        self.models = tuple(models)
        self.draining = False
        self.most_open = threads * _MOST_OPEN_PER_WORKER
        self._max_megapixels = max_megapixels
        self._numbers = itertools.count()
        self._workers: WorkerPool[_Task] = WorkerPool(threads, self._run)
        self._backlog = Backlog(threads, sum(model.profile.total_ms for model in models) / len(models))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = self._held_bytes = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self) -> None:
        """Start the workers; call inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    async def drain(self, longest_s: float) -> None:
        """Take nothing new, wait for what was accepted, stop the workers."""
        self.draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), longest_s)
        await asyncio.to_thread(self._workers.stop)

    def find(self, name: str, version: str) -> ServedModel:
        """The package `name`, of `version` or the highest.

        Raises:
            ModelUnknown: naming what there is.
        """
        manifests = [(model.package.manifest, model) for model in self.models]
        matches = [(m.version, model) for m, model in manifests if m.name == name and version in ("", str(m.version))]
        if not matches:
            known = ", ".join(sorted(model.package.reference for model in self.models))
            raise ModelUnknown(f"model {name!r} version {version!r} is not served; there are: {known}")
        return max(matches, key=lambda match: match[0])[1]

    def load_now(self) -> CloudLoad:
        """The load as of now."""
        now_s = time.monotonic()
        backlog = self._backlog
        return CloudLoad(
            round(backlog.work_ms(now_s), 3),
            backlog.workers,
            round(backlog.utilization(now_s), 4),
            round(backlog.mean_service_ms, 3),
        )

    @contextmanager
    def accepted(self, nbytes: int) -> Iterator[None]:
        """Around a call of `nbytes` from its arrival to its end: draining waits for it.

        Raises:
            Draining: the cloud takes nothing new.
            QueueFull: as many calls as it may hold are open, or as many bytes.
        """
        if self.draining:
            raise Draining("the cloud is about to stop")
        if self._open == self.most_open or (self._open and self._held_bytes + nbytes > _MOST_HELD_BYTES):
            # Half of them are done by then; some of them may not have been looked at yet, so their count tells it.
            work_ms = self._open * self._backlog.mean_service_ms
            held = f"{self._open} calls of {self._held_bytes / 1e6:.0f} MB are open already"
            raise QueueFull(held, work_ms / self._backlog.workers / 2)
        self._open += 1
        self._held_bytes += nbytes
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            self._held_bytes -= nbytes
            if not self._open:
                self._idle.set()

    async def infer(self, call: InferCall, tensors: Sequence[WireTensor], remaining_ms: float | None) -> InferReply:
        """Run what is behind an accepted call's boundary and finish the task; the reply tells no load.

        Cancelling the awaiting task stops the work at the next segment.

        Raises:
            CloudError: one of its kinds.
        """
        model = self.find(call.model, call.version)
        if call.digest and call.digest != model.package.digest:
            raise DigestDiffers(f"digest: {model.package.reference} here has {model.package.digest}")
        boundary = model.boundary_of(call, tensors)
        task = self._admit(model, call, boundary, tensors, remaining_ms)
        try:
            self._workers.put(task)
            return await task.done
        finally:
            task.done.cancel()
            if self._workers.remove(task):
                self._backlog.dropped(task.number, time.monotonic())

    def _admit(
        self,
        model: ServedModel,
        call: InferCall,
        boundary: int,
        tensors: Sequence[WireTensor],
        remaining_ms: float | None,
    ) -> _Task:
        """Refuse at once what would wait past its deadline: the edge can still compute it."""
        now_s = time.monotonic()
        left_ms = math.inf if remaining_ms is None else remaining_ms
        tail_ms = model.tail_ms(boundary)
        wait_ms = self._backlog.wait_ms(now_s)
        late_ms = wait_ms + tail_ms - min(left_ms, _LONGEST_MS + tail_ms)
        # An idle worker costs nobody anything, and only calls that run correct a tail's measured time.
        if wait_ms and late_ms > 0:
            there_are_ms = wait_ms + tail_ms - late_ms
            raise QueueFull(f"{wait_ms + tail_ms:.0f} ms of work, {there_are_ms:.0f} ms until the deadline", late_ms)
        number = next(self._numbers)
        self._backlog.added(number, tail_ms)
        done: asyncio.Future[InferReply] = asyncio.get_running_loop().create_future()
        return _Task(number, model, call, boundary, tensors, now_s, now_s + left_ms / 1000.0, done)

    def _run(self, task: _Task) -> None:
        """In a worker; only the event loop touches the backlog and the future."""
        assert self._loop is not None
        start_s = time.monotonic()
        self._loop.call_soon_threadsafe(self._backlog.started, task.number, start_s)
        result: InferReply | CloudError
        try:
            result = self._reply(task, start_s)
        except CloudError as error:
            result = error
        except (WireError, PhotoRefused) as error:
            result = BadCall(str(error))
        except Exception:
            log.exception("a call failed", request_id=task.call.request_id, model=task.model.package.reference)
            result = Faulty("the cloud failed; its log tells why")
        self._loop.call_soon_threadsafe(self._settle, task, result, time.monotonic())

    def _reply(self, task: _Task, start_s: float) -> InferReply:
        task.check_wanted()
        model, call, profile = task.model, task.call, task.model.profile
        live, geometry = model.enter(call, task.tensors, self._max_megapixels)
        if task.tensors[0].datatype == "BYTES":
            profile.observe_decode(_ms_since(start_s), len(task.tensors[0].data))
        for index in range(task.boundary + 1, model.segment_count + 1):
            task.check_wanted()
            before_s = time.monotonic()
            live, _ = model.chain.run_segment(index, live, RunContext())
            profile.observe_segment(index, _ms_since(before_s))
        before_s = time.monotonic()
        tensors = model.finish(call, live, geometry)
        profile.observe_postprocess(_ms_since(before_s))
        queue_ms = (start_s - task.arrived_s) * 1000.0
        return InferReply(tensors, queue_ms, _ms_since(start_s), model.package.digest, None, model.chain.backend_name)

    def _settle(self, task: _Task, result: InferReply | CloudError, now_s: float) -> None:
        if isinstance(result, InferReply):
            self._backlog.finished(task.number, now_s)
        else:
            self._backlog.dropped(task.number, now_s)
        if task.done.done():
            return
        if isinstance(result, InferReply):
            task.done.set_result(result)
        else:
            task.done.set_exception(result)


def _ms_since(start_s: float) -> float:
    return (time.monotonic() - start_s) * 1000.0
