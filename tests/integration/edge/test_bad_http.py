"""Bytes that are no HTTP, and requests whose headers have no end: refused, and the next photo is answered."""

from contextlib import suppress

import pytest
from edgedet_edge import schemas

from demo.processes import Running
from tests.integration.edge.asking import forget_peak, open_files, peak_mb, suspended, wait_for
from tests.integration.edge.raw_http import connected, post

pytestmark = pytest.mark.usefixtures("next_photo_is_answered")


@pytest.mark.parametrize("request_bytes", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET  / HTTP/9.9\r\n\r\n"])
def test_what_is_not_http_is_a_problem(edge: Running, request_bytes: bytes) -> None:
    with connected(edge) as connection:
        connection.send(request_bytes)
        response = connection.response()
        assert response.status == 400
        assert response.headers["content-type"] == "application/problem+json"
        schemas.Problem.model_validate(response.json())
        assert connection.is_closed_by_the_edge()


@pytest.mark.parametrize("endless", [b"X-A: b\r\n" * 1000, b"x" * 8000], ids=["headers", "one-header"])
def test_endless_headers_are_cut_off(edge: Running, endless: bytes) -> None:
    forget_peak(edge)
    before = peak_mb(edge)
    with connected(edge) as connection:
        connection.send(b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nX-Long: ")
        for _ in range(5_000):
            connection.send(endless)
        assert connection.response().status == 431
        assert connection.is_closed_by_the_edge()
    assert peak_mb(edge) - before < 20


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("nbytes", [65_000, 70_000, 150_000, 250_000])
def test_headers_have_a_limit_however_they_come(edge: Running, photo: bytes, method: str, nbytes: int) -> None:
    body = photo if method == "POST" else b""
    path = "/v1/detect" if method == "POST" else "/health/live"
    for one in (b"X-Long: " + b"x" * nbytes + b"\r\n", b"X-Abcdefg: abcdef\r\n" * (nbytes // 19)):
        with connected(edge) as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n".encode()
            connection.send(head + one + b"\r\n" + body)
            assert connection.response().status == (200 if nbytes < 64 << 10 else 431)


@pytest.mark.parametrize("body_bytes", [0, 80_000])
def test_a_request_that_is_refused_in_one_piece_leaves_no_connection_behind(
    edge: Running, photo: bytes, body_bytes: int
) -> None:
    before = open_files(edge)
    with connected(edge) as connection:
        for _ in range(5):  # until the kernel takes so much at once
            connection.send(post(photo))
            assert connection.response().status == 200
        with suspended(edge):
            connection.send(post(bytes(body_bytes), X_Long="x" * 70_000))
        assert connection.response().status == 431
        wait_for(lambda: open_files(edge) == before, "the end of a connection that its client keeps open")


def test_requests_that_pile_up_on_one_connection_are_cut_off(edge: Running) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: e\r\n\r\n"
    with connected(edge) as connection:
        connection.send(one * 50)
        assert [connection.response().status for _ in range(50)] == [200] * 50
        with suspended(edge):
            connection.send(one * 2000)
        answers = 0
        with suppress(ConnectionError):
            while data := connection.socket.recv(65536):
                answers += data.count(b"HTTP/1.1 200")
        assert answers < 2000


def test_endless_trailers_are_cut_off(edge: Running) -> None:
    with connected(edge) as connection:
        connection.send(b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        for _ in range(1_000):
            connection.send(b"X-A: b\r\n" * 1000)
        assert connection.response().status in (400, 431)
        assert connection.is_closed_by_the_edge()


def test_an_upgrade_is_not_followed(edge: Running, photo: bytes) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    with connected(edge) as connection:
        connection.send(post(photo, **upgrade))
        assert connection.response().status == 400
    with connected(edge) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.response().status == 200
