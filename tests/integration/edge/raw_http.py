"""Requests byte by byte, for what no decent client sends."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from demo.processes import Running


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """One TCP connection; reads give up after `patience_s`."""

    def __init__(self, edge: Running, patience_s: float = 30.0) -> None:
        host, _, port = edge.address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=patience_s)
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self) -> RawResponse:
        """The next response; ConnectionError when the edge closes without one."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(self._unread) < length:
            self._receive()
        body, self._unread = self._unread[:length], self._unread[length:]
        return RawResponse(int(first.split()[1]), headers, body)

    def is_closed_by_the_edge(self) -> bool:
        """Wait for the end of what the edge sends."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self._unread!r}")
        self._unread += data


@contextmanager
def connected(edge: Running, patience_s: float = 30.0) -> Iterator[RawConnection]:
    """A connection that is closed at the end."""
    connection = RawConnection(edge, patience_s)
    try:
        yield connection
    finally:
        connection.socket.close()


def post(body: bytes, path: str = "/v1/detect", **headers: str) -> bytes:
    """A whole request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: edge\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
