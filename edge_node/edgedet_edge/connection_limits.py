"""Limits for slow clients: uvicorn itself arms a timer only after a response."""

import asyncio
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_SLOW = b"The request did not arrive in time."
_TOO_MANY = b"Too many open connections."


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client must keep to."""

    header_timeout_s: float
    """From the connection, or from a request's first byte on, to the end of the headers."""
    body_timeout_s: float
    """The body's rate is looked at in spans of this length."""
    min_body_bytes_s: float
    max_connections: int


def limited_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn that holds clients to `limits`."""

    class LimitedProtocol(_LimitedProtocol):
        pass

    LimitedProtocol.limits = limits
    return LimitedProtocol


class _LimitedProtocol(HttpToolsProtocol):
    limits: ConnectionLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, b"Service Unavailable", _TOO_MANY)
            return
        self._arm(self.limits.header_timeout_s, self._expired)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:  # a further request on a kept connection
            self._arm(self.limits.header_timeout_s, self._expired)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._arm(self.limits.body_timeout_s, self._check_body, self._received)

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, b"Bad Request", msg.encode("ascii"))

    def _check_body(self, received_before: int) -> None:
        enough = self.limits.min_body_bytes_s * self.limits.body_timeout_s
        # A reader that this server paused is not slow.
        if self._received - received_before < enough and not self.flow.read_paused:
            self._expired()
            return
        self._arm(self.limits.body_timeout_s, self._check_body, self._received)

    def _expired(self) -> None:
        self._timer = None
        self._refuse(408, b"Request Timeout", _TOO_SLOW)

    def _refuse(self, status: int, phrase: bytes, detail: bytes) -> None:
        if self.transport.is_closing():
            return
        body = b'{"type":"about:blank","title":"%s","status":%d,"detail":"%s"}' % (phrase, status, detail)
        head = (
            b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
        )
        # Only when no answer has begun: a second status line would corrupt the first answer.
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(head % (status, phrase, len(body)) + body)
        self.transport.close()

    def _arm(self, delay_s: float, callback: Any, *args: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, callback, *args)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
