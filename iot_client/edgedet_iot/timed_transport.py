"""A transport whose timeouts hold for a photo and its answer as a whole, as a deadline wants it.

httpx's begin anew with every part: an edge behind a slow link, whose answer drips in, would never be late. What is
left is told anew to the connection before the answer's head and before its body, so that only a photo or a body that
first drips and then stalls is waited for longer. Within a part of a photo, and within the head, which comes in one
piece from all but a server that means harm, they still begin anew.
"""

import time
from collections.abc import Iterator

import httpx

PART_BYTES = 1 << 16
SHORTEST_WAIT_S = 0.001
"""0 would mean not to wait at all, for what may have arrived."""


class TimedTransport(httpx.BaseTransport):
    """Another transport, whose request and response end with the read timeout counted from the start."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; its response is read in time, or raises `httpx.ReadTimeout`."""
        timeout = request.extensions["timeout"]
        end_s = time.monotonic() + timeout["read"]
        assert isinstance(request.stream, httpx.SyncByteStream)
        request.stream = _InTime(request.stream, timeout, end_s)
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _InTime(response.stream, timeout, end_s)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class _InTime(httpx.SyncByteStream):
    """A body in parts, until the time is over; `timeout` is what the connection goes by when it reads next."""

    def __init__(self, body: httpx.SyncByteStream, timeout: dict[str, float], end_s: float) -> None:
        self._body, self._timeout, self._end_s = body, timeout, end_s

    def __iter__(self) -> Iterator[bytes]:
        self._tell_what_is_left()
        for content in self._body:
            for start in range(0, len(content), PART_BYTES):
                if time.monotonic() > self._end_s:
                    raise httpx.ReadTimeout("")
                yield content[start : start + PART_BYTES]
        self._tell_what_is_left()

    def _tell_what_is_left(self) -> None:
        self._timeout["read"] = max(SHORTEST_WAIT_S, self._end_s - time.monotonic())

    def close(self) -> None:
        self._body.close()
