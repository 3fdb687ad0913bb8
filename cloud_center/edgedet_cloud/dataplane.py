"""The cloud's data plane: admit, queue, run the segments behind a boundary, finish the task; knows no gRPC server."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from edgedet_proto.wire import CloudLoad, InferCall, InferReply, WireError, WireTensor, photo_of, unpack
from edgedet_runtime.answer import Choices, Finisher
from edgedet_runtime.backend import Backend, Tensor, load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.detection import Detections, DetectThresholds
from edgedet_runtime.errors import PhotoRefused, TensorMismatch
from edgedet_runtime.letterbox import Geometry, geometry_of, to_input
from edgedet_runtime.package import Package, scan_packages
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.profile import Profile, measure_profile
from edgedet_runtime.workers import WorkerPool
from numpy.typing import NDArray

from edgedet_cloud.backlog import Backlog
from edgedet_cloud.errors import BadCall, CloudError, DigestDiffers, Draining, Expired, ModelUnknown, QueueFull

log = structlog.get_logger()
_DEFAULT_DEADLINE_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A package ready to run from any boundary."""

    package: Package
    chain: Chain
    finisher: Finisher
    profile: Profile

    def tail_ms(self, boundary: int) -> float:
        """Expected work behind a boundary."""
        profile = self.profile
        decode_ms = 0.0 if boundary else profile.decode_ms
        return decode_ms + sum(profile.segment_ms[boundary:]) + profile.postprocess_ms


@dataclass(eq=False, slots=True)
class _Task:
    number: int
    model: ServedModel
    call: InferCall
    boundary: int
    tensors: list[WireTensor]
    arrived_s: float
    deadline_s: float
    done: "asyncio.Future[InferReply]"


class CloudCenter:
    """Packages, one worker pool, one backlog."""

    def __init__(self, models: Mapping[tuple[str, str], ServedModel], threads: int, max_megapixels: float) -> None:
        self.models = models
        self.draining = False
        self._max_megapixels = max_megapixels
        self._numbers = itertools.count()
        self._workers: WorkerPool[_Task] = WorkerPool(threads, self._run)
        typical_ms = [model.profile.total_ms for model in models.values()]
        self._backlog = Backlog(threads, sum(typical_ms) / len(typical_ms) if typical_ms else 1.0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = 0

    @classmethod
    def load(cls, folder: Path, threads: int, max_megapixels: float) -> "CloudCenter":
        """Load and prepare every package below `folder`; refused ones are logged, the others still serve."""
        packages, refusals = scan_packages(folder)
        for refusal in refusals:
            log.error("package refused", reason=refusal.reason)
        backend = load_backend("onnxruntime")
        models = {}
        for package in packages:
            model = _serve(package, backend)
            models[package.manifest.name, str(package.manifest.version)] = model
            log.info("package ready", package=package.reference, digest=package.digest)
        return cls(models, threads, max_megapixels)

    def start(self) -> None:
        """Start the workers; call inside the event loop."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    async def drain(self, longest_s: float) -> None:
        """Take nothing new, wait for what was accepted, stop the workers."""
        self.draining = True
        give_up_s = time.monotonic() + longest_s
        while self._open and time.monotonic() < give_up_s:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self._workers.stop)

    def find(self, name: str, version: str) -> ServedModel:
        """The package `name`, of `version` or the highest.

        Raises:
            ModelUnknown: naming what there is.
        """
        matches = [model for (known, number), model in self.models.items() if known == name and version in ("", number)]
        if not matches:
            known = ", ".join(sorted(model.package.reference for model in self.models.values())) or "none"
            raise ModelUnknown(f"model {name!r} version {version!r} is not served; there are: {known}")
        return max(matches, key=lambda model: model.package.manifest.version)

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

    async def infer(self, call: InferCall, tensors: list[WireTensor], remaining_ms: float | None) -> InferReply:
        """Run what is behind the call's boundary and finish the task.

        Cancelling the awaiting task stops the work at the next segment.

        Raises:
            CloudError: one of its kinds.
        """
        if self.draining:
            raise Draining("the cloud is about to stop")
        model = self.find(call.model, call.version)
        if call.digest and call.digest != model.package.digest:
            raise DigestDiffers(f"digest of {model.package.reference} here is {model.package.digest}")
        boundary = _boundary_of(model, call, tensors)
        task = self._admit(model, call, boundary, tensors, remaining_ms)
        self._open += 1
        try:
            self._workers.put(task)
            return await task.done
        finally:
            self._open -= 1
            task.done.cancel()
            self._workers.remove(task)
            self._backlog.ended(task.number, time.monotonic())

    def _admit(
        self,
        model: ServedModel,
        call: InferCall,
        boundary: int,
        tensors: list[WireTensor],
        remaining_ms: float | None,
    ) -> _Task:
        """Refuse at once what cannot be answered in time: the edge still can."""
        now_s = time.monotonic()
        left_ms = _DEFAULT_DEADLINE_MS if remaining_ms is None else remaining_ms
        tail_ms = model.tail_ms(boundary)
        wait_ms = self._backlog.wait_ms(now_s)
        if wait_ms + tail_ms > left_ms:
            late_ms = wait_ms + tail_ms - left_ms
            raise QueueFull(f"{wait_ms + tail_ms:.0f} ms of work, {left_ms:.0f} ms until the deadline", late_ms)
        number = next(self._numbers)
        self._backlog.added(number, tail_ms)
        done: asyncio.Future[InferReply] = asyncio.get_running_loop().create_future()
        return _Task(number, model, call, boundary, tensors, now_s, now_s + left_ms / 1000.0, done)

    def _run(self, task: _Task) -> None:
        """In a worker."""
        assert self._loop is not None
        start_s = time.monotonic()
        self._loop.call_soon_threadsafe(self._backlog.started, task.number, start_s)
        result: InferReply | Exception
        try:
            result = self._reply(task, start_s)
        except CloudError as error:
            result = error
        except (WireError, TensorMismatch, PhotoRefused) as error:
            result = BadCall(str(error))
        except Exception as error:  # noqa: BLE001  (a worker outlives any fault of one task; the server logs it)
            result = error
        self._loop.call_soon_threadsafe(_settle, task.done, result)

    def _reply(self, task: _Task, start_s: float) -> InferReply:
        live, geometry = self._enter(task)
        profile, chain = task.model.profile, task.model.chain
        context = chain.context(live) if task.boundary == 0 else chain.context({})
        for index in range(task.boundary + 1, chain.segment_count + 1):
            if task.done.cancelled() or time.monotonic() > task.deadline_s:
                raise Expired("the deadline passed, or the client left")
            before_s = time.monotonic()
            live, _ = chain.run_segment(index, live, context)
            profile.observe_segment(index, (time.monotonic() - before_s) * 1000.0)
        tensors: dict[str, NDArray[Any]] = dict(live) if task.call.raw else _finish(task, live, geometry)
        service_ms = (time.monotonic() - start_s) * 1000.0
        queue_ms = (start_s - task.arrived_s) * 1000.0
        return InferReply(tensors, queue_ms, service_ms, task.model.package.digest, None)

    def _enter(self, task: _Task) -> tuple[dict[str, Tensor], Geometry]:
        """The live tensors at the task's boundary and the photo's geometry."""
        if task.done.cancelled() or time.monotonic() > task.deadline_s:
            raise Expired("the deadline passed, or the client left")
        chain, call = task.model.chain, task.call
        spec = chain.manifest.input
        if task.boundary == 0 and task.tensors[0].datatype == "BYTES":
            tensor, geometry = to_input(decode_photo(photo_of(task.tensors[0]), self._max_megapixels), spec)
            return {spec.name: tensor}, geometry
        live = {tensor.name: unpack(tensor, call.codec) for tensor in task.tensors}
        width, height = call.photo_width or spec.width, call.photo_height or spec.height
        return live, geometry_of(width, height, spec)


def _serve(package: Package, backend: Backend) -> ServedModel:
    chain, finisher = prepare_chain(package, backend), Finisher.load(package)
    return ServedModel(package, chain, finisher, measure_profile(chain, finisher))


def _settle(done: "asyncio.Future[InferReply]", result: InferReply | Exception) -> None:
    if done.done():
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)


def _boundary_of(model: ServedModel, call: InferCall, tensors: list[WireTensor]) -> int:
    """The call's boundary, or for a client that tells none the one whose tensors these are; names and sizes checked.

    Raises:
        BadCall: the tensors are not those of the boundary.
    """
    chain = model.chain
    if not tensors:
        raise BadCall("inputs: there is no tensor")
    if tensors[0].datatype == "BYTES":
        if call.boundary or len(tensors) != 1:
            raise BadCall("inputs: a photo (BYTES) stands alone, at boundary 0")
        return 0
    candidates = range(chain.segment_count) if call.boundary is None else (call.boundary,)
    names = [tensor.name for tensor in tensors]
    for boundary in candidates:
        if boundary < chain.segment_count and [s.name for s in chain.live_tensors(boundary)] == names:
            found = [
                (t.name, {"UINT8": "uint8", "FP32": "float32"}.get(t.datatype, t.datatype), t.shape) for t in tensors
            ]
            try:
                chain.check(boundary, found)
            except TensorMismatch as error:
                raise BadCall(str(error)) from error
            return boundary
    raise BadCall(f"inputs: {names} are not the live tensors of boundary {call.boundary} of {model.package.reference}")


def _finish(task: _Task, outputs: Mapping[str, Tensor], geometry: Geometry) -> dict[str, NDArray[Any]]:
    answer = task.model.finisher.finish(outputs, geometry, _choices(task.model, task.call))
    name = "detections" if isinstance(answer, Detections) else "classes"
    return {name: np.ascontiguousarray(answer.to_rows())}


def _choices(model: ServedModel, call: InferCall) -> Choices:
    default = model.finisher.default_choices()
    if isinstance(default, int):
        return min(call.top_k or default, len(model.package.manifest.labels))
    return DetectThresholds(
        default.score if call.score_threshold is None else call.score_threshold,
        default.iou if call.iou_threshold is None else call.iou_threshold,
        default.max_detections if call.max_detections is None else call.max_detections,
    )
