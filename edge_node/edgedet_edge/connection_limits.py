"""Limits for slow and endless clients: uvicorn itself arms a timer only after a response and reads any header."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

CONNECTION = "edgedet.connection"
"""Where the state of a request's scope holds its protocol."""
MAX_HEADER_BYTES = 64 << 10
"""Request line and headers together; also trailers, and what stands between two requests."""
MAX_PIPELINED = 100
"""Requests of one connection without a whole answer: in one piece of a quarter of a megabyte 14,000 can come."""
# A refused client that still writes would lose the answer to a reset, so what it sends is read for so long.
_LINGER_S = 2.0
# A request that was answered before its body ended (413, 415) may send the rest for so long; it is thrown away.
_DISCARD_S = 30.0
# When the server stops, an answer may take so long to be made and read: less than uvicorn waits before it complains.
_STOP_S = 4.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client must keep to."""

    header_timeout_s: float
    """From the connection, or from a request's first byte on, to the end of the headers."""
    body_timeout_s: float
    """The rates of a body and of an answer's reading are looked at in spans of this length."""
    min_body_bytes_s: float
    max_connections: int


def limited_protocol(limits: ConnectionLimits, count_refused: Callable[[int], None]) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn that holds clients to `limits`; it counts refusals by their status."""

    class LimitedProtocol(_LimitedProtocol):
        pass

    LimitedProtocol.limits = limits
    LimitedProtocol.count_refused = staticmethod(count_refused)
    return LimitedProtocol


class _LimitedProtocol(HttpToolsProtocol):
    limits: ConnectionLimits
    count_refused: Callable[[int], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.lost = False
        self.leaving: Callable[[], object] | None = None
        """Called when the client leaves; a request's handler sets it while nothing else would tell it."""
        self._refused = False
        self._received = 0
        self._outside_body = 0
        """Bytes since a message began or a piece of its body came."""
        self._body_began_s = 0.0
        self._open: list[RequestResponseCycle] = []
        """Requests without a whole answer: uvicorn itself knows the last one only."""

    # The transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self.limits.max_connections:  # refusals linger too: they have a limit as well
            transport.abort()
        elif len(self.connections) > self.limits.max_connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many open connections.")
        else:
            self._arm(self.limits.header_timeout_s, self._expired)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.leaving is not None:
            self.leaving()
        self._disarm()
        self._disarm_write()
        self._leave_open()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._received += len(data)
        self._outside_body += len(data)
        super().data_received(data)
        if self._outside_body > MAX_HEADER_BYTES:
            self._refuse_headers()
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            # Bytes that begin no request ended uvicorn's own keep-alive timer.
            self._arm(self.limits.header_timeout_s, self._expired)

    def shutdown(self) -> None:
        """The server stops: requests that have arrived are answered, all else ends now."""
        self.loop.call_later(_STOP_S, self.transport.abort)
        arrived = self._arrived()
        if arrived:
            arrived[-1].keep_alive = False
        elif self._received == 0 or self._timer is None:  # nothing of a request is here
            self.transport.close()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The server stops; send the request to another.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm_write()

    def resume_writing(self) -> None:
        self._disarm_write()
        super().resume_writing()

    # The parser's calls; it goes on through the piece that it has when a request in it was refused.

    def on_message_begin(self) -> None:
        if self._refused:
            return
        super().on_message_begin()
        self._outside_body = 0
        if self._timer is None:  # a further request on a kept connection
            self._arm(self.limits.header_timeout_s, self._expired)

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        super().on_headers_complete()
        self.scope["state"][CONNECTION] = self
        self._open = [*(cycle for cycle in self._open if not cycle.response_complete), self.cycle]
        if len(self._open) > MAX_PIPELINED:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, f"More than {MAX_PIPELINED} requests wait for their answers.")
            return
        # What came in one piece is not counted while it is parsed.
        if len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEADER_BYTES:
            self._refuse_headers()
            return
        if self.parser.should_upgrade() and self.cycle.scope["method"] not in ("GET", "HEAD"):
            # The parser takes a body behind such a header for the other protocol's (`curl --http2 --data …`).
            self._refuse(HTTPStatus.BAD_REQUEST, "No upgrades here: send the request as plain HTTP/1.1.")
            return
        self._body_began_s = time.monotonic()
        self._arm(self.limits.body_timeout_s, self._check_body, self._received)

    def on_body(self, body: bytes) -> None:
        if self._refused:  # uvicorn might pause the reading, and nobody would ever see that the client has left
            return
        super().on_body(body)
        self._outside_body = 0

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._disarm()
        super().on_message_complete()
        # uvicorn pauses the reading while 64 kB of a body wait, and nobody would see that the client leaves.
        # Requests behind this one wait in the socket as before.
        if not self.pipeline:
            self.flow.resume_reading()

    def _unsupported_upgrade_warning(self) -> None:
        pass  # not worth a line in the log

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    # Timers

    def _check_body(self, received_before: int) -> None:
        enough = self.limits.min_body_bytes_s * self.limits.body_timeout_s
        if self.cycle.response_complete and time.monotonic() - self._body_began_s > _DISCARD_S:
            self.transport.abort()
        # A reader that this server paused is not slow.
        elif self._received - received_before < enough and not self.flow.read_paused:
            self._expired()
        else:
            self._arm(self.limits.body_timeout_s, self._check_body, self._received)

    def _check_reading(self, unsent_before: int) -> None:
        enough = self.limits.min_body_bytes_s * self.limits.body_timeout_s
        unsent = self.transport.get_write_buffer_size()
        if unsent_before - unsent < enough:
            self.transport.abort()
        else:
            self._arm_write()

    def _expired(self) -> None:
        if self._arrived():  # it is the next request that is slow: this one's answer comes first
            self._arm(self.limits.header_timeout_s, self._expired)
            return
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")

    def _arrived(self) -> list[RequestResponseCycle]:
        """Whole requests without a whole answer."""
        return [cycle for cycle in self._open if not cycle.response_complete and not cycle.more_body]

    def _leave_open(self) -> None:
        """Nobody will read the answers to come; handlers notice that by it."""
        for cycle in self._open:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.flow.read_paused = False  # uvloop raises where a closed transport is to read on

    def _refuse_headers(self) -> None:
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"More than {MAX_HEADER_BYTES} bytes of headers.")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer once, then hear the client out for a little while."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self.count_refused(status.value)
        current = self.cycle
        # A second status line would corrupt an answer that has begun, or be taken for that of an earlier request.
        if not self._arrived() and (current is None or not (current.more_body and current.response_started)):
            self.transport.write(_problem(status, detail))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._leave_open()
        self._arm(_LINGER_S, self.transport.abort)

    def _arm(self, delay_s: float, callback: Any, *args: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, callback, *args)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm_write(self) -> None:
        self._disarm_write()
        unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.limits.body_timeout_s, self._check_reading, unsent)

    def _disarm_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def _problem(status: HTTPStatus, detail: str) -> bytes:
    slug = status.phrase.lower().replace(" ", "-")
    body = (
        f'{{"type":"urn:edgedet:problem:{slug}","title":"{status.phrase}","status":{status.value},"detail":"{detail}"}}'
    )
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return (head + body).encode("ascii")
