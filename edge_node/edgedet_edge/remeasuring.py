"""Measures a model again while an idle node refuses its photos.

Only photos that run correct what the node believes a model to cost. Once it believes that all of them would be late
(it was started on a busy machine, or the process was paused in the middle of a photo), none would ever run again.
"""

import asyncio
import time

import structlog
from edgedet_runtime.profile import Profile, measure_profile

from edgedet_edge.job import ServedModel

log = structlog.get_logger()
_LEAST_PAUSE_S = 10.0
_PAUSE_PER_WORK = 50.0
"""Clients whose deadlines nothing could meet cost the node a fiftieth of its time."""


class Remeasuring:
    """One measurement at a time, beside the workers; used from the event loop."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._due_s: dict[str, float] = {}

    def refused(self, model: ServedModel) -> None:
        """The node had nothing to do and refused a photo for this model."""
        measuring = self._task is not None and not self._task.done()
        if not measuring and time.monotonic() >= self._due_s.get(model.reference, 0.0):
            self._task = asyncio.create_task(self._measure(model), name=f"measure-{model.reference}")

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self, model: ServedModel) -> None:
        start_s, believed_ms = time.monotonic(), model.profile.total_ms
        try:
            _correct(model.profile, await asyncio.to_thread(measure_profile, model.chain, model.finisher))
        finally:
            now_s = time.monotonic()
            self._due_s[model.reference] = now_s + max(_LEAST_PAUSE_S, _PAUSE_PER_WORK * (now_s - start_s))
        log.info(
            "package measured again",
            package=model.reference,
            believed_ms=round(believed_ms, 1),
            ms=round(model.profile.total_ms, 1),
        )


def _correct(believed: Profile, measured: Profile) -> None:
    # Decoding goes with the bytes, and photos here may have more of them than the made-up one.
    larger = max(1.0, believed.photo_bytes / measured.photo_bytes)
    believed.decode_ms = min(believed.decode_ms, measured.decode_ms * larger)
    believed.segment_ms[:] = measured.segment_ms
    believed.postprocess_ms = measured.postprocess_ms
