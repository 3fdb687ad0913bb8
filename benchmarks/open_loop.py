"""A lean open-loop load generator: photos at Poisson times over keep-alive connections, whatever the answers.

It is a process of its own, so that it can be pinned and its CPU time measured. ``python -m benchmarks.open_loop URL
PHOTO… --rate R --seconds S`` prints one JSON object (`Result`). Latency counts from the intended send time; a photo
without any answer 5 s after its deadline is lost.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

PATIENCE_S = 5.0
LOST = 0
"""Status of a photo without an answer."""
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the photos whose time came after the warm-up."""

    seconds: float
    sent: int
    statuses: dict[str, int]
    """Answers by HTTP status; "0": lost."""
    good: int
    """Answers 200 within the deadline."""
    latencies_ms: dict[str, float]
    """p50, p95, p99 of the answers 200."""
    latest_504_ms: float
    elapsed_s: float
    """From the start, warm-up included, until the last answer."""
    cpu_ms: float
    """CPU time of this process, warm-up included, start and imports not."""
    cpu_photos: int
    """Photos sent during that time."""


class _Connection(asyncio.Protocol):
    """One request at a time; parses as much of an answer as tells where it ends."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def request(self, message: bytes) -> "asyncio.Future[int]":
        """Send; the future is the status."""
        assert self._transport is not None
        self._received.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_END_OF_HEAD)
        if head_end < 0 or self._answer is None or self._answer.done():
            return
        head = bytes(self._received[:head_end]).lower()
        start = head.find(b"\r\ncontent-length:") + len(b"\r\ncontent-length:")
        length = int(head[start:].split(b"\r\n", 1)[0])
        if len(self._received) >= head_end + len(_END_OF_HEAD) + length:
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(LOST)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Generator:
    def __init__(self, host: str, port: int, messages: Sequence[bytes]) -> None:
        self._address = (host, port)
        self._messages = messages
        self._idle: list[_Connection] = []
        self.outcomes: list[tuple[float, int, float]] = []
        """(intended send time since the start in s, status, latency in ms)"""

    async def run(self, times_s: Sequence[float], give_up_s: float) -> None:
        """Send a photo at each of `times_s`, and wait for all answers."""
        start_s = time.perf_counter()
        photos: list[asyncio.Task[None]] = []
        for index, offset_s in enumerate(times_s):
            pause_s = start_s + offset_s - time.perf_counter()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            message = self._messages[index % len(self._messages)]
            photos.append(asyncio.create_task(self._send(message, start_s, offset_s, give_up_s)))
        await asyncio.gather(*photos)

    async def _send(self, message: bytes, start_s: float, offset_s: float, give_up_s: float) -> None:
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(give_up_s):
                connection = await self._connection()
                status = await connection.request(message)
        except (TimeoutError, OSError):
            status = LOST
        self.outcomes.append((offset_s, status, (time.perf_counter() - start_s - offset_s) * 1000))
        if connection is not None:
            if status == LOST or not connection.open:
                connection.close()
            else:
                self._idle.append(connection)

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        return connection


def poisson_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Send times in seconds from the start, at `rate` a second."""
    rng = random.Random(seed)
    times, now = [], rng.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += rng.expovariate(rate)
    return times


def generate(
    url: str, photos: Sequence[bytes], *, rate: float, seconds: float, warm_up: float, seed: int, deadline_ms: float
) -> Result:
    """Load `url` for `warm_up` + `seconds`."""
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError(f"{url!r} names no host and port")
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    messages = [_message(target, parts.netloc, photo, deadline_ms) for photo in photos]
    generator = _Generator(parts.hostname, parts.port, messages)
    times_s = poisson_times(rate, warm_up + seconds, seed)
    start_s, cpu_s = time.perf_counter(), time.process_time()
    uvloop.run(generator.run(times_s, deadline_ms / 1000 + PATIENCE_S))
    elapsed_s, cpu_ms = time.perf_counter() - start_s, (time.process_time() - cpu_s) * 1000
    counted = [(status, latency_ms) for offset_s, status, latency_ms in generator.outcomes if offset_s >= warm_up]
    answered = sorted(latency_ms for status, latency_ms in counted if status == 200)
    return Result(
        seconds=seconds,
        sent=len(counted),
        statuses={str(status): count for status, count in sorted(Counter(status for status, _ in counted).items())},
        good=sum(latency_ms <= deadline_ms for latency_ms in answered),
        latencies_ms={f"p{q}": answered[-(-len(answered) * q // 100) - 1] if answered else 0.0 for q in (50, 95, 99)},
        latest_504_ms=max((latency_ms for status, latency_ms in counted if status == 504), default=0.0),
        elapsed_s=elapsed_s,
        cpu_ms=cpu_ms,
        cpu_photos=len(times_s),
    )


def _message(target: str, host: str, photo: bytes, deadline_ms: float) -> bytes:
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(photo)}\r\nX-Deadline-Ms: {deadline_ms:g}\r\n\r\n"
    )
    return head.encode() + photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, required=True, help="photos a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds of load before those that count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline-ms", type=float, default=1000.0)
    arguments = parser.parse_args()
    result = generate(
        arguments.url,
        [photo.read_bytes() for photo in arguments.photos],
        rate=arguments.rate,
        seconds=arguments.seconds,
        warm_up=arguments.warm_up,
        seed=arguments.seed,
        deadline_ms=arguments.deadline_ms,
    )
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
