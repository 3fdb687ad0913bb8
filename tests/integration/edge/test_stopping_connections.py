"""SIGTERM finds connections of every kind: none that waits for no answer holds the end up, and nothing is logged."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM

import pytest
from edgedet_edge import schemas

from demo.processes import start_edge, stopping
from tests.integration.edge.asking import complaints
from tests.integration.edge.raw_http import RawConnection, connected, post

_GET = b"GET %b HTTP/1.1\r\nHost: e\r\n\r\n"


def test_no_connection_holds_the_end_up(tmp_path: Path, photo: bytes) -> None:
    with stopping(start_edge(tmp_path)) as (edge,), ExitStack() as opened:
        fresh, idle, half_a_head, half_a_body, refused, endless, deaf = (
            opened.enter_context(connected(edge)) for _ in range(7)
        )
        idle.send(_GET % b"/health/live")
        assert idle.response().status == 200
        half_a_head.send(post(photo)[:30])
        half_a_body.send(post(photo)[:5000])
        _ask_for_more_than_is_read(deaf)
        opened.enter_context(_sending_without_end(endless))
        assert endless.response().status == 415
        refused.send(b"hello\r\n\r\n")
        assert refused.response().status == 400
        edge.signal(SIGTERM)
        for connection in (half_a_head, half_a_body):
            response = connection.response()
            assert (response.status, response.headers["connection"]) == (503, "close")
            assert schemas.Problem.model_validate(response.json()).title == "Service Unavailable"
        for connection in (fresh, idle, refused):
            with pytest.raises(ConnectionError, match="closed after b''"):
                connection.response()
        assert endless.is_closed_by_the_edge()
        assert edge.process.wait(20) == 0
    assert not complaints(edge), "uvicorn complains of what it still waits for after 5 s"


def _ask_for_more_than_is_read(connection: RawConnection) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.send(_GET % b"/static-offline-docs/swagger-ui-bundle.js" * 20)
    assert connection.socket.recv(12) == b"HTTP/1.1 200"


@contextmanager
def _sending_without_end(connection: RawConnection) -> Iterator[None]:
    """Behind a request that is refused by its head, from a thread."""
    connection.send(
        b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nContent-Type: text/plain\r\nContent-Length: 999999999999\r\n\r\n"
    )

    def send() -> None:
        try:
            while True:
                connection.send(bytes(10_000))
        except OSError:
            pass

    sender = threading.Thread(target=send)
    sender.start()
    yield
    sender.join(30)
    assert not sender.is_alive()
