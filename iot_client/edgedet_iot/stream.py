"""An open-loop stream of photos: sent at their times whether or not earlier ones are answered, as cameras do.

Latency counts from the intended send time, so that a slow generator or a stalled edge cannot hide its own delay
(coordinated omission: G. Tene, "How not to measure latency", 2013).
"""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from edgedet_iot.answers import Classes, Detections
from edgedet_iot.client import AsyncClient
from edgedet_iot.errors import IotFault
from edgedet_iot.stream_report import StreamReport, Tally

Arrivals = Literal["poisson", "regular"]
Ask = Callable[[Path, float], Awaitable[Detections | Classes]]
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
PROGRESS_S = 1.0
GRACE_S = 5.0
"""The books want the edge's own word: a busy machine may bring it late."""


def photos_in(folder: Path) -> list[Path]:
    """JPEG and PNG files directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def send_times_s(rate: float, arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    """Seconds from the start of each send, the first at once: `rate` a second, at equal gaps or a Poisson process."""
    if not 0 < rate < math.inf:
        raise ValueError(f"rate must be above 0 photos a second, and finite, not {rate:g}")
    return _send_times_s(rate, arrivals, rng)


def _send_times_s(rate: float, arrivals: Arrivals, rng: random.Random) -> Iterator[float]:
    at = 0.0
    for count in itertools.count():
        yield count / rate if arrivals == "regular" else at
        at += rng.expovariate(rate)


async def stream(
    edges: str | Sequence[str],
    photos: Sequence[Path],
    *,
    rate: float,
    seconds: float | None = None,
    model: str | None = None,
    classify: bool = False,
    arrivals: Arrivals = "poisson",
    deadline_s: float = 1.0,
    retries: int = 0,
    seed: int | None = None,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[StreamReport], None] | None = None,
) -> StreamReport:
    """Send photos in turn and keep the books; photos on their way at the end are waited for.

    Args:
        edges: URLs in the order of preference; an edge that cannot be reached is passed over.
        photos: files, sent one after the other, from the first again after the last.
        rate: photos a second.
        seconds: length; None streams until `stop` is set.
        model: ``name`` or ``name:version``; None leaves it to the edge.
        classify: classify photos instead of detecting objects.
        arrivals: Poisson process or equal gaps.
        deadline_s: for each photo, from its intended send time.
        retries: 0 counts a refused photo (429) as refused; more sends it again after its `Retry-After`.
        seed: makes the Poisson process repeatable.
        stop: ends the stream early when set.
        on_progress: called about once a second.
    """
    if not photos:
        raise ValueError("no photos to send")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be above 0, not {seconds:g}")
    times = send_times_s(rate, arrivals, random.Random(seed))
    stop = stop or asyncio.Event()
    tally = Tally(deadline_s)
    start = time.monotonic()
    client = AsyncClient(edges, deadline_s=deadline_s, retries=retries, grace_s=GRACE_S)
    async with client, asyncio.TaskGroup() as sends:
        reports = sends.create_task(_report_progress(tally, start, on_progress))
        ask = _asking(client, model, classify)
        for at, photo in zip(times, itertools.cycle(photos), strict=False):
            if (seconds is not None and at >= seconds) or await _stopped(stop, start + at):
                break
            tally.offered += 1
            sends.create_task(_send(ask, photo, start + at, deadline_s, tally))
        length = time.monotonic() - start if stop.is_set() or seconds is None else seconds
        reports.cancel()
    return tally.report(length)


def _asking(client: AsyncClient, model: str | None, classify: bool) -> Ask:
    async def ask(photo: Path, deadline_s: float) -> Detections | Classes:
        if classify:
            return await client.classify(photo, deadline_s=deadline_s, model=model)
        return await client.detect(photo, deadline_s=deadline_s, model=model)

    return ask


async def _send(ask: Ask, photo: Path, intended: float, deadline_s: float, tally: Tally) -> None:
    late_s = time.monotonic() - intended
    try:
        answer = await ask(photo, deadline_s - late_s)
    except IotFault as fault:
        tally.failed(fault)
    except OSError:  # a folder that a camera writes loses its oldest photos while it is streamed
        tally.unreadable()
    else:
        tally.answered(answer, (time.monotonic() - intended) * 1000)


async def _stopped(stop: asyncio.Event, until: float) -> bool:
    """Wait until a time on the monotonic clock; True when `stop` was set before."""
    left_s = until - time.monotonic()
    if left_s > 0 and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), left_s)
        except TimeoutError:
            return False
    elif left_s <= 0:
        await asyncio.sleep(0)  # behind schedule: let the answers in nevertheless
    return stop.is_set()


async def _report_progress(tally: Tally, start: float, tell: Callable[[StreamReport], None] | None) -> None:
    while tell is not None:
        await asyncio.sleep(PROGRESS_S)
        tell(tally.report(time.monotonic() - start))
