"""Handovers: a job's live tensors go to a cloud; the answer comes back, or the job comes home."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import structlog
from edgedet_proto.wire import InferReply
from edgedet_runtime.answer import Answer
from edgedet_runtime.classification import Classes
from edgedet_runtime.detection import Detections
from edgedet_runtime.manifest import Manifest

from edgedet_edge.cloud_client import CloudClient
from edgedet_edge.errors import CloudFailed, CloudFault, CloudLate, CloudRefused, DeadlineMissed, PackageDiffers
from edgedet_edge.execution import Parcel, settle
from edgedet_edge.job import Job, Outcome, ServedModel
from edgedet_edge.measurements import Measurements
from edgedet_edge.placement import REARM_MS, Reason
from edgedet_edge.scheduler import Scheduler

log = structlog.get_logger()


class Handovers:
    """Sends parcels; `come_home` queues a job again for the workers here."""

    def __init__(
        self,
        scheduler: Scheduler,
        clients: dict[str, CloudClient],
        measurements: Measurements,
        come_home: Callable[[Job], None],
    ) -> None:
        self._scheduler = scheduler
        self._clients = clients
        self._measurements = measurements
        self._come_home = come_home
        # One upload at a time: two at once would each take twice as long, and the first answer would come later.
        self._wires = {address: asyncio.Lock() for address in clients}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, parcel: Parcel) -> None:
        """In the event loop: send a parcel off."""
        if parcel.job.unwanted:
            return
        task = asyncio.create_task(self._carry(parcel), name=f"handover-{parcel.job.request_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("handover died", task=task.get_name(), exc_info=task.exception())

    async def stop(self) -> None:
        """End all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, parcel: Parcel) -> None:
        """Until the answer is there, the job is home again, or nobody wants it any more."""
        job, address = parcel.job, parcel.cloud
        start_s = time.monotonic()
        self._scheduler.handed_over(parcel, address, job.model, parcel.boundary, parcel.nbytes)
        call = asyncio.create_task(self._call(parcel))
        hedged = late = False
        timer_s: float | None = self._scheduler.hedge_timer_ms(parcel.predicted_ms) / 1000.0
        try:
            while not call.done():
                waited: set[asyncio.Future[Any]] = {call, job.answered}
                await asyncio.wait(waited, timeout=timer_s, return_when="FIRST_COMPLETED")
                if call.done() or job.unwanted:
                    break
                # Overdue. While no hedge is to be had, it is asked again soon.
                late = late or self._scheduler.came_late(parcel, address)
                hedged = self._scheduler.may_hedge(parcel, address)
                timer_s = None if hedged else REARM_MS / 1000.0
                if hedged:
                    job.copies.under_way += 1
                    self._come_home(job.copy_for_home(address, Reason.CLOUD_LATE, _since_ms(start_s)))
            if call.done():
                self._conclude(parcel, call, start_s, hedged=hedged, late=late)
            elif _missed(job) and (late or self._scheduler.came_late(parcel, address)):
                self._measurements.cloud_failed()
        finally:
            call.cancel()
            self._scheduler.dropped(parcel, address)  # nothing, where its end was told already

    async def _call(self, parcel: Parcel) -> InferReply:
        client, uploaded = self._clients[parcel.cloud], asyncio.get_running_loop().create_future()
        async with self._wires[parcel.cloud]:
            sending_s = time.monotonic()
            wire_ms = self._scheduler.sending(parcel, parcel.cloud, parcel.nbytes)
            self._measurements.sent(parcel.nbytes)
            parcel.job.bytes_sent += parcel.nbytes
            left_s = max(parcel.job.deadline_s - sending_s, 0.001)

            def received() -> None:
                if not uploaded.done():
                    uploaded.set_result(None)
                elapsed_ms = (time.monotonic() - sending_s) * 1000.0
                self._scheduler.uploaded(parcel, parcel.cloud, parcel.nbytes, elapsed_ms)

            call = asyncio.create_task(client.infer(parcel.message, left_s, received))
            try:
                # Until the cloud has it all, or should have: its word takes half a round trip that the wire is free in.
                timeout_s = None if wire_ms is None else wire_ms / 1000.0
                await asyncio.wait({uploaded, call}, timeout=timeout_s, return_when="FIRST_COMPLETED")
            except asyncio.CancelledError:
                call.cancel()
                raise
            finally:
                self._scheduler.sent(parcel, parcel.cloud)
        try:
            return await call
        finally:
            call.cancel()

    def _conclude(
        self, parcel: Parcel, call: "asyncio.Task[InferReply]", start_s: float, *, hedged: bool, late: bool
    ) -> None:
        job, address, scheduler = parcel.job, parcel.cloud, self._scheduler
        actual_ms = _since_ms(start_s)
        try:
            reply = call.result()
            answer = _answer(reply, job.model.package.manifest)
        except CloudRefused as refusal:
            scheduler.replied(parcel, address, refusal.load, late=late)
            if isinstance(refusal, PackageDiffers):
                tell_differing(scheduler, address, job.model, refusal)
            self._failed(parcel, refusal, actual_ms, hedged=hedged)
        except CloudLate as fault:
            if not late:
                scheduler.came_late(parcel, address)
            self._failed(parcel, fault, actual_ms, hedged=hedged)
        except CloudFault as fault:
            scheduler.failed(parcel, address)
            self._failed(parcel, fault, actual_ms, hedged=hedged)
        except Exception as error:
            log.exception("handover failed unexpectedly", request_id=job.request_id, cloud=address)
            scheduler.failed(parcel, address)
            self._failed(parcel, CloudFailed(repr(error)), actual_ms, hedged=hedged)
        else:
            scheduler.replied(parcel, address, reply.load, late=late)
            if reply.service_ms is not None:
                scheduler.answered(
                    address, job.model, parcel.boundary, reply.service_ms, parcel.predicted_ms, actual_ms
                )
            settle(job, _outcome(parcel, answer, reply, actual_ms))

    def _failed(self, parcel: Parcel, fault: CloudFault, spent_ms: float, *, hedged: bool) -> None:
        """Run the tail at home (or in another cloud, if a worker finds that better), unless that was begun before."""
        job, address = parcel.job, parcel.cloud
        log.info("handover failed", request_id=job.request_id, cloud=address, reason=str(fault))
        self._measurements.cloud_failed()
        if hedged:
            settle(job, fault)
        elif not job.unwanted:
            self._come_home(job.copy_for_home(address, Reason.CLOUD_FAILED, spent_ms))


def _since_ms(start_s: float) -> float:
    return (time.monotonic() - start_s) * 1000.0


def _missed(job: Job) -> bool:
    """Whether the photo's deadline ended it, and not an answer or a client that left."""
    answered = job.answered
    return answered.done() and not answered.cancelled() and isinstance(answered.exception(), DeadlineMissed)


def tell_differing(scheduler: Scheduler, address: str, model: ServedModel, refusal: PackageDiffers) -> None:
    """Note that a cloud has another package under the name, and say so once."""
    if scheduler.differs(address, model):
        log.warning("cloud not used for this package", cloud=address, package=model.reference, reason=str(refusal))


def _answer(reply: InferReply, manifest: Manifest) -> Answer:
    """What the cloud finished.

    Raises:
        CloudFailed: a reply without an answer to this task, or with labels that the package does not have.
    """
    name, columns = ("detections", 6) if manifest.task == "detect" else ("classes", 2)
    rows = reply.tensors.get(name)
    if rows is None or rows.shape[1:] != (columns,):
        raise CloudFailed(f"the reply holds {sorted(reply.tensors)}, not {name} [n, {columns}]")
    rows = rows.astype(np.float32)
    answer = Detections.from_rows(rows) if manifest.task == "detect" else Classes.from_rows(rows)
    if not (np.isfinite(rows).all() and np.isin(answer.labels, range(len(manifest.labels))).all()):
        raise CloudFailed(f"the reply's {name} hold numbers or labels that cannot be")
    return answer


def _outcome(parcel: Parcel, answer: Answer, reply: InferReply, actual_ms: float) -> Outcome:
    job = parcel.job
    queue_ms, service_ms = reply.queue_ms or 0.0, reply.service_ms or 0.0
    timing = replace(
        job.timing,
        cloud_queue=queue_ms,
        tail=job.timing.tail + service_ms,
        transfer=job.timing.transfer + max(0.0, actual_ms - queue_ms - service_ms),
    )
    return Outcome(
        answer=answer,
        placement="split" if parcel.boundary else "cloud",
        boundary=parcel.boundary,
        reason=parcel.reason,
        cloud_backend=reply.backend,
        bytes_sent=job.bytes_sent,
        timing=timing,
        tail_at_home=job.tail_at_home,
    )
