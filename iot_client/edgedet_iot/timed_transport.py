"""A transport whose timeouts hold for a photo and its answer as a whole, as a deadline wants it.

httpx's begin anew with every part: an edge behind a slow link, whose answer drips in, would never be late. They still
do within an answer's head, which comes in one piece from all but a server that means harm.
"""

import time
from collections.abc import Iterator

import httpx

PART_BYTES = 1 << 16


class TimedTransport(httpx.BaseTransport):
    """Another transport, whose request and response end with the read timeout counted from the start."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; its response is read in time, or raises `httpx.ReadTimeout`."""
        end_s = time.monotonic() + request.extensions["timeout"]["read"]
        assert isinstance(request.stream, httpx.SyncByteStream)
        request.stream = _InTime(request.stream, end_s)
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _InTime(response.stream, end_s)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class _InTime(httpx.SyncByteStream):
    """A body in parts, until the time is over."""

    def __init__(self, body: httpx.SyncByteStream, end_s: float) -> None:
        self._body, self._end_s = body, end_s

    def __iter__(self) -> Iterator[bytes]:
        for content in self._body:
            for start in range(0, len(content), PART_BYTES):
                if time.monotonic() > self._end_s:
                    raise httpx.ReadTimeout("")
                yield content[start : start + PART_BYTES]

    def close(self) -> None:
        self._body.close()
