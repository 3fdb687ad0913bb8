"""The data plane: a photo's bytes in, an answer out; knows no HTTP."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from ipaddress import ip_address
from typing import Any

import structlog
from edgedet_runtime.answer import Answer, Choices
from edgedet_runtime.backend import load_backend
from edgedet_runtime.detection import Detections, DetectThresholds
from edgedet_runtime.drawing import LARGEST_SIDE, draw_detections
from edgedet_runtime.errors import PhotoTooLarge
from edgedet_runtime.manifest import Task
from edgedet_runtime.photo import decode_photo, read_header
from edgedet_runtime.simulated_time import InSimulatedTime
from edgedet_runtime.workers import give_way

from edgedet_edge.accelerator import AcceleratorMeter
from edgedet_edge.catalog import Catalog
from edgedet_edge.cloud_client import CloudClient
from edgedet_edge.descriptions import describe_answer
from edgedet_edge.errors import BadQuery, DeadlineMissed, Draining, ForcedBoundaryForbidden, Overloaded
from edgedet_edge.execution import Execution, Parcel
from edgedet_edge.handover import Handovers
from edgedet_edge.job import Job, Outcome, ServedModel
from edgedet_edge.measurements import Measurements
from edgedet_edge.placement import Decision, EdgeOnly, FixedBoundary, Policy, Reason, parse_policy
from edgedet_edge.prober import Prober
from edgedet_edge.remeasuring import Remeasuring
from edgedet_edge.reports import Reports
from edgedet_edge.scheduler import Scheduler
from edgedet_edge.settings import EdgeSettings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for beside its photo; None: the package's or the node's own choice."""

    task: Task
    model: str | None = None
    boundary: int | None = None
    deadline_ms: float | None = None
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    top_k: int | None = None
    draw: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer's document, or the photo with its boxes as JPEG."""

    body: dict[str, Any]
    drawn: bytes | None = None


class EdgeNode:
    """Models, workers, clouds and measurements of one node; runs in one event loop."""

    def __init__(self, settings: EdgeSettings, catalog: Catalog) -> None:
        self.version = installed_version("edgedet")
        self.max_body_bytes = int(settings.max_body_mb * 1e6)
        self.max_held_bytes = int(settings.max_held_mb * 1e6)
        self.draining = False
        self.measurements = Measurements()
        self._settings = settings
        self.catalog = catalog
        self._policy: Policy = parse_policy(settings.placement)
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._scheduler = Scheduler(
            catalog.models, settings.cloud, settings.threads, forward_photos=settings.forward_photos
        )
        accelerator = AcceleratorMeter(self.measurements.prometheus)
        self._execution = Execution(self._scheduler, settings.threads, self._leave, accelerator)
        self.reports = Reports(settings, catalog.models, self.measurements, self._scheduler, accelerator)
        self._remeasuring = Remeasuring()
        self._clients: dict[str, CloudClient] = {}
        self._handovers: Handovers | None = None
        self._prober: Prober | None = None
        # As many photos at once as the workers have: a large one takes half a gigabyte.
        self._drawing = ThreadPoolExecutor(settings.threads, "drawing", give_way)

    @classmethod
    def load(cls, settings: EdgeSettings) -> "EdgeNode":
        """Load every package below the models folder and measure what it costs here.

        Raises:
            RuntimeFault: there is no package, or not the one that `default_model` names; no such backend or option.
            ValueError: no such placement policy.
        """
        backend = load_backend(settings.backend, **settings.backend_options())
        if settings.capacity == "simulated":
            backend = InSimulatedTime(backend)
        catalog = Catalog.load(settings.models, backend, settings.default_model, whole=not settings.cloud)
        return cls(settings, catalog)

    # Life

    async def start(self) -> None:
        """Start workers, clients, probes and heartbeats; inside the event loop."""
        self._clients = {address: CloudClient(address) for address in self._settings.cloud}
        self._handovers = Handovers(self._scheduler, self._clients, self.measurements, self._come_home)
        self._prober = Prober(self._scheduler, self._clients, self.catalog.models)
        self._execution.start()
        self._prober.start()
        self.reports.registry.start()

    def listening_on(self, host: str, port: int) -> None:
        """The node can be reached there."""
        known = socket.gethostname() if _is_every_address(host) else host
        name = f"[{known}]" if ":" in known else known
        self.reports.address = self._settings.advertise or f"http://{name}:{port}"
        log.info("ready", host=host, port=port, node_id=self._settings.node_id)

    async def drain(self) -> None:
        """Take no new photos and answer the accepted ones."""
        self.draining = True
        log.info("draining", open=self._open)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await self._idle.wait()

    async def stop(self) -> None:
        """End everything."""
        self.draining = True
        await self.reports.registry.stop()
        # The workers first: what they would still hand over needs the clients.
        await asyncio.to_thread(self._execution.stop)
        await self._remeasuring.stop()
        if self._prober is not None:
            await self._prober.stop()
        if self._handovers is not None:
            await self._handovers.stop()
        for client in self._clients.values():
            await client.close()
        self._drawing.shutdown(wait=False, cancel_futures=True)
        log.info("stopped")

    def check_open(self) -> None:
        """Raise `Draining` when no photos are taken any more."""
        if self.draining:
            raise Draining("the node is about to stop; send the photo to another")

    # Photos

    async def infer(self, data: bytes, query: Query, request_id: str) -> Reply:
        """Answer a photo by its deadline.

        Raises:
            EdgeFault, RuntimeFault: one of their kinds; cancelling ends the work.
        """
        job = self._job(data, query, request_id)
        try:
            decision = self._scheduler.admit(job)
        except Overloaded:
            if not self._open:
                self._remeasuring.refused(job.model)
            raise
        self._open += 1
        self._idle.clear()
        missed = False
        alarm = asyncio.get_running_loop().call_later(job.deadline_s - time.monotonic(), _expire, job)
        try:
            self._send_on(job, decision)
            outcome = await job.answered
            drawn = await self._drawn(job, outcome.answer) if query.draw else None
        except DeadlineMissed:
            missed = True
            raise
        finally:
            alarm.cancel()
            self._open -= 1
            if not self._open:
                self._idle.set()
            job.answered.cancel()
            self._execution.remove(job)
            self._scheduler.ended(missed=missed)
        self._count(outcome, job)
        return Reply(describe_answer(job, outcome), drawn)

    def _job(self, data: bytes, query: Query, request_id: str) -> Job:
        now_s = time.monotonic()
        header = read_header(data, self._settings.max_megapixels)
        if query.draw and max(header.width, header.height) > LARGEST_SIDE:
            raise PhotoTooLarge(f"{header.width} x {header.height} pixels: a JPEG has at most {LARGEST_SIDE:,} a side")
        model = self.catalog.find(query.task, query.model)
        deadline_ms = query.deadline_ms or self._settings.deadline_ms
        return Job(
            request_id=request_id,
            model=model,
            data=data,
            header=header,
            choices=_choices(model, query),
            policy=self._policy if query.boundary is None else self._forced(model, query.boundary),
            accepted_s=now_s,
            deadline_s=now_s + deadline_ms / 1000.0,
            answered=asyncio.get_running_loop().create_future(),
        )

    def _forced(self, model: ServedModel, boundary: int) -> Policy:
        if not self._settings.allow_forced_boundary:
            raise ForcedBoundaryForbidden("boundary: this node does not let clients choose (--allow-forced-boundary)")
        last = model.package.manifest.segment_count
        if boundary > last:
            raise BadQuery(f"boundary: {model.reference} has boundaries 0…{last}, got {boundary}")
        if boundary == 0 and not self._settings.forward_photos:
            raise ForcedBoundaryForbidden("boundary: photos do not leave this node (--forward-photos)")
        if boundary < last and not self._settings.cloud:
            return EdgeOnly(Reason.NO_CLOUD)
        return FixedBoundary(boundary, Reason.FORCED)

    def _send_on(self, job: Job, decision: Decision) -> None:
        """To a cloud at once where the photo itself may go and that is best, else to the workers."""
        cloud = decision.leaves_at(job.boundary)
        if cloud is None:
            self._execution.put(job)
        else:
            self._leave(self._execution.pack(job, cloud, decision))

    def _leave(self, parcel: Parcel) -> None:
        assert self._handovers is not None
        self._handovers.begin(parcel)

    def _come_home(self, job: Job) -> None:
        """A handover did not bring the answer: the tail runs here, before photos that have not begun."""
        if not job.unwanted:
            self._execution.put(job, first=True)
            job.answered.add_done_callback(lambda _: self._execution.remove(job))

    def _count(self, outcome: Outcome, job: Job) -> None:
        outcome.timing.total = (time.monotonic() - job.accepted_s) * 1000.0
        self.measurements.answered(outcome.placement, outcome.boundary, outcome.reason, outcome.timing)
        if outcome.tail_at_home and outcome.placement == "edge":
            self.measurements.local_tail()
        log.debug(
            "answered",
            request_id=job.request_id,
            model=job.model.reference,
            placement=outcome.placement,
            boundary=outcome.boundary,
            reason=outcome.reason,
            total_ms=round(outcome.timing.total, 1),
        )

    async def _drawn(self, job: Job, answer: Answer) -> bytes | None:
        """The photo with its boxes, by the deadline as well."""
        if not isinstance(answer, Detections):
            return None
        try:
            async with asyncio.timeout(job.deadline_s - time.monotonic()):
                return await asyncio.get_running_loop().run_in_executor(self._drawing, _draw, job, answer)
        except TimeoutError:
            raise _missed(job) from None


def _is_every_address(host: str) -> bool:
    """0.0.0.0 or ::, by which no other machine can ask."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False  # a name


def _expire(job: Job) -> None:
    if not job.answered.done():
        job.answered.set_exception(_missed(job))


def _missed(job: Job) -> DeadlineMissed:
    return DeadlineMissed(f"no answer within {(job.deadline_s - job.accepted_s) * 1000:.0f} ms")


def _draw(job: Job, detections: Detections) -> bytes:
    photo = decode_photo(job.data, header=job.header)
    return draw_detections(photo, detections, job.model.package.manifest.labels)


def _choices(model: ServedModel, query: Query) -> Choices:
    default = model.finisher.default_choices()
    if isinstance(default, int):
        return min(query.top_k or default, len(model.package.manifest.labels))
    return DetectThresholds(
        default.score if query.score_threshold is None else query.score_threshold,
        default.iou if query.iou_threshold is None else query.iou_threshold,
        query.max_detections or default.max_detections,
    )
