"""Photos at random times, whatever the answers, and all that came back."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from demo.processes import Running
from tests.integration.edge.raw_http import post

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Outcome:
    sent_s: float
    photo: int
    status: int
    """0: no answer at all."""
    latency_ms: float
    content: Any


class OpenLoop:
    """Sends from a thread of its own while the test goes on."""

    def __init__(self, edge: Running, photos: Sequence[bytes], rate: float, deadline_ms: float) -> None:
        host, _, port = edge.address.rpartition(":")
        self._address = (host, int(port))
        self._photos = len(photos)
        # One in four is made to leave, so that there is always something under way to a cloud that fails.
        self._messages = [
            post(photo, path, X_Deadline_Ms=str(deadline_ms))
            for path in ("/v1/detect?boundary=2", *["/v1/detect"] * 3)
            for photo in photos
        ]
        self._rate = rate
        self._give_up_s = deadline_ms / 1000 + _PATIENCE_S
        self._stopping = threading.Event()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), daemon=True)
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(self._give_up_s + 10)
        assert not self._thread.is_alive()

    def statuses(self) -> Counter[int]:
        return Counter(outcome.status for outcome in self.outcomes)

    async def _send_all(self) -> None:
        rng = random.Random(0)
        next_s = time.monotonic()
        photos: list[asyncio.Task[None]] = []
        while not self._stopping.is_set():
            next_s += rng.expovariate(self._rate)
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            photos.append(asyncio.create_task(self._send(rng.randrange(len(self._messages)))))
        await asyncio.gather(*photos)
        for _, writer in self._idle:
            writer.close()

    async def _send(self, number: int) -> None:
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(self._give_up_s):
                status, body = await self._ask(self._messages[number])
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            status, body = 0, json.dumps(repr(error)).encode()
        latency_ms = (time.monotonic() - start_s) * 1000
        self.outcomes.append(Outcome(start_s, number % self._photos, status, latency_ms, json.loads(body)))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():  # else it was idle for so long that the edge closed it
                return reader, writer
        return await asyncio.open_connection(*self._address)

    async def _ask(self, message: bytes) -> tuple[int, bytes]:
        reader, writer = await self._connection()
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        body = await reader.readexactly(length)
        self._idle.append((reader, writer))
        return int(head.split()[1]), body
