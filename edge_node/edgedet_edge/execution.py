"""Runs jobs in worker threads, segment by segment, and asks at every boundary whether to stay or to leave."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from edgedet_proto.wire import InferCall, build_photo_request, build_request
from edgedet_runtime.detection import DetectThresholds
from edgedet_runtime.errors import RuntimeFault
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.workers import WorkerPool

from edgedet_edge.accelerator import AcceleratorMeter
from edgedet_edge.errors import CloudFault, DeadlineMissed
from edgedet_edge.job import Job, Outcome
from edgedet_edge.placement import Decision
from edgedet_edge.scheduler import Scheduler

log = structlog.get_logger()


@dataclass(frozen=True, eq=False, slots=True)
class Parcel:
    """A job ready to be sent: the message of its boundary."""

    job: Job
    cloud: str
    boundary: int
    message: Any
    nbytes: int
    reason: str
    predicted_ms: float
    """From now to the answer."""


class Execution:
    """K workers on one queue; `leave` is called in the event loop with what goes to a cloud."""

    def __init__(
        self, scheduler: Scheduler, threads: int, leave: Callable[[Parcel], None], accelerator: AcceleratorMeter
    ) -> None:
        self._scheduler = scheduler
        self._accelerator = accelerator
        self._leave = leave
        self._workers: WorkerPool[Job] = WorkerPool(threads, self._run)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the workers; call inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    def stop(self) -> None:
        """Let running segments end; waits for the workers."""
        self._workers.stop()

    def put(self, job: Job, *, first: bool = False) -> None:
        """Queue a job; `first` for one that has waited already."""
        job.queued_s = time.monotonic()
        self._scheduler.queued()
        if first:
            self._workers.put_first(job)
        else:
            self._workers.put(job)

    def remove(self, job: Job) -> None:
        """Take a job out that nobody waits for any more."""
        if self._workers.remove(job):
            self._scheduler.unqueued()

    def _run(self, job: Job) -> None:
        """In a worker."""
        job.timing.queue += (time.monotonic() - job.queued_s) * 1000.0
        result: Outcome | Parcel | Exception | None
        try:
            if self._scheduler.started(job):
                result = self._advance(job)
            else:
                result = DeadlineMissed("the photo waited too long to be answered in time")
        except RuntimeFault as fault:
            result = fault
        except Exception as error:
            log.exception("an inference failed unexpectedly", request_id=job.request_id, model=job.model.reference)
            result = error
        self._scheduler.finished(job, broken_off=not isinstance(result, Outcome | Parcel))
        if isinstance(result, Parcel):
            self._in_loop(self._leave, result)
        elif result is not None:
            self._in_loop(settle, job, result)

    def _advance(self, job: Job) -> Outcome | Parcel | None:
        """The outcome, what goes to a cloud, or None when nobody wants it any more."""
        last = job.model.segment_count
        decided = False
        while not job.unwanted:
            # Without clouds there is nothing to decide again, but the plan tells the others how long this one takes.
            if self._scheduler.has_clouds or not decided:
                decision, decided = self._scheduler.decide(job), True
                if not job.tail_at_home:
                    job.reason = decision.reason.value
                cloud = decision.leaves_at(job.boundary)
                if cloud is not None:
                    return self.pack(job, cloud, decision)
            if job.live is None:
                self._decode(job)
            self._run_segment(job)
            if job.boundary == last:
                return self._finish(job)
        return None

    def pack(self, job: Job, cloud: str, decision: Decision) -> Parcel:
        """The message of the job's boundary."""
        start_s = time.monotonic()
        codec = self._scheduler.codec(cloud, job.model, job.boundary)
        call = infer_call(job, codec)
        if job.live is None:
            message = build_photo_request(call, job.data)
        else:
            message = build_request(call, list(job.live.items()))
        nbytes = sum(len(content) for content in message.raw_input_contents)
        job.timing.encode += (time.monotonic() - start_s) * 1000.0
        if codec == "zstd":
            raw = job.model.profile.boundaries[job.boundary - 1].nbytes
            job.model.profile.observe_compression(job.boundary, nbytes / raw)
        # A second cloud's answer, after the first has failed, is there for that and not for its price.
        reason = job.reason if job.tail_at_home else decision.reason.value
        return Parcel(job, cloud, job.boundary, message, nbytes, reason, decision.latency_ms)

    def _decode(self, job: Job) -> None:
        start_s = time.monotonic()
        spec = job.model.package.manifest.input
        tensor, job.geometry = to_input(decode_photo(job.data, header=job.header), spec)
        job.live = {spec.name: tensor}
        job.context = job.model.chain.context(job.live)
        elapsed_ms = (time.monotonic() - start_s) * 1000.0
        job.timing.decode += elapsed_ms
        job.model.profile.observe_decode(elapsed_ms, len(job.data))

    def _run_segment(self, job: Job) -> None:
        assert job.live is not None
        start_s = time.monotonic()
        index = job.boundary + 1
        job.live, result = job.model.chain.run_segment(index, job.live, job.context)
        job.boundary = index
        elapsed_ms = (time.monotonic() - start_s) * 1000.0
        if job.tail_at_home:
            job.timing.tail += elapsed_ms
        else:
            job.timing.head += elapsed_ms
        job.model.profile.observe_segment(index, elapsed_ms)
        self._accelerator.ran(job.model, index, result, elapsed_ms)

    def _finish(self, job: Job) -> Outcome:
        assert job.live is not None
        assert job.geometry is not None
        start_s = time.monotonic()
        answer = job.model.finisher.finish(job.live, job.geometry, job.choices)
        elapsed_ms = (time.monotonic() - start_s) * 1000.0
        job.timing.postprocess = elapsed_ms
        job.model.profile.observe_postprocess(elapsed_ms)
        return Outcome(
            answer=answer,
            placement="edge",
            boundary=job.model.package.manifest.segment_count,
            reason=job.reason,
            cloud_backend="",
            bytes_sent=job.bytes_sent,
            timing=job.timing,
            tail_at_home=job.tail_at_home,
        )

    def _in_loop(self, function: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *args)


def settle(job: Job, result: Outcome | Exception) -> None:
    """In the event loop: of several copies of a job the first answer counts; when all failed, why it did here."""
    if isinstance(result, Exception):
        job.copies.under_way -= 1
        if not isinstance(result, CloudFault):
            job.copies.fault = result
    if job.answered.done():
        return
    if isinstance(result, Outcome):
        job.answered.set_result(result)
    elif not job.copies.under_way:
        job.answered.set_exception(job.copies.fault or result)


def infer_call(job: Job, codec: str) -> InferCall:
    """Everything that a cloud has to know beside the tensors."""
    manifest = job.model.package.manifest
    width, height = job.header.upright_size
    detect = job.choices if isinstance(job.choices, DetectThresholds) else None
    return InferCall(
        model=manifest.name,
        version=str(manifest.version),
        request_id=job.request_id,
        boundary=job.boundary,
        codec="zstd" if codec == "zstd" else "raw",
        digest=job.model.package.digest,
        photo_width=width,
        photo_height=height,
        score_threshold=detect.score if detect else None,
        iou_threshold=detect.iou if detect else None,
        max_detections=detect.max_detections if detect else None,
        top_k=job.choices if isinstance(job.choices, int) else None,
    )
