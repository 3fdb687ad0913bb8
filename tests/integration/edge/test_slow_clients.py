"""Clients that take their time are cut off within the limits, others are not."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from edgedet_edge import schemas

from demo.processes import Running, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for
from tests.integration.edge.raw_http import RawConnection, connected, post

_HEADER_S, _BODY_S, _CONNECTIONS = 1.0, 1.0, 8
_HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def edge(log_folder: Path) -> Iterator[Running]:
    settings = log_folder / "impatient.toml"
    settings.write_text(
        f"header_timeout_s = {_HEADER_S}\nbody_timeout_s = {_BODY_S}\nmin_body_kb_s = 20\n"
        f"max_connections = {_CONNECTIONS}\ndeadline_ms = 20000\n"
    )
    with stopping(start_edge(log_folder, "--config", str(settings))) as (edge,):
        yield edge
    assert not complaints(edge)


def drip(connection: RawConnection, piece: bytes, within_s: float) -> float:
    """Send a piece ten times a second until an answer or the end comes; how long that took."""
    start_s = time.monotonic()
    connection.socket.settimeout(0.1)
    while True:
        assert time.monotonic() - start_s < within_s, "never cut off"
        try:
            connection.send(piece)
            data = connection.socket.recv(65536, socket.MSG_PEEK)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        assert data == b"" or b" 408 " in data
        break
    connection.socket.settimeout(10)
    return time.monotonic() - start_s


def test_a_client_that_sends_nothing_is_cut_off(edge: Running) -> None:
    with connected(edge) as connection:
        response = connection.response()
        assert response.status == 408
        assert schemas.Problem.model_validate(response.json()).title == "Request Timeout"
        assert connection.is_closed_by_the_edge()


@pytest.mark.parametrize(
    ("start", "piece"),
    [(b"POST /v1/detect HTTP/1.1\r\nX-A: ", b"a"), (b"", b"\r\n"), (b"GE", b""), (_HEAD, b"x"), (_HEAD, b"")],
    ids=["headers", "empty-lines", "half-a-word", "body", "no-body"],
)
def test_a_dripping_client_is_cut_off(edge: Running, start: bytes, piece: bytes) -> None:
    with connected(edge) as connection:
        connection.send(start)
        assert drip(connection, piece, 10) >= min(_HEADER_S, _BODY_S) * 0.9
        assert connection.is_closed_by_the_edge()


def test_a_client_that_drips_after_an_answer_is_cut_off(edge: Running) -> None:
    for start, piece in ((b"", b"\r\n"), (b"GET /", b"x")):
        with connected(edge) as connection:
            connection.send(b"GET /health/live HTTP/1.1\r\nHost: e\r\n\r\n")
            assert connection.response().status == 200
            connection.send(start)
            drip(connection, piece, 10)
            assert connection.is_closed_by_the_edge()


def test_a_body_that_was_refused_may_not_drip_for_ever(edge: Running) -> None:
    with connected(edge) as connection:
        connection.send(_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\n\r\n"))
        assert connection.response().status == 415
        drip(connection, b"x", 10)
        assert connection.is_closed_by_the_edge()


def test_a_slow_client_above_the_least_rate_is_answered(edge: Running, photo: bytes) -> None:
    request = post(photo)
    with connected(edge) as connection:
        for start in range(0, len(request), 6000):  # 60 kB a second
            connection.send(request[start : start + 6000])
            time.sleep(0.1)
        assert connection.response().status == 200


def test_a_client_that_does_not_read_its_answer_is_cut_off(edge: Running, sample_photos: list[Path]) -> None:
    photo = max((path.read_bytes() for path in sample_photos), key=len)
    with connected(edge) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            _ask_without_listening(connection, post(photo, "/v1/detect?format=image"))


def test_connections_above_the_limit_are_told_so(edge: Running, photo: bytes) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connected(edge)) for _ in range(_CONNECTIONS)]
        for connection in held:
            connection.send(b"GET /health/live HTTP/1.1\r\nHost: e\r\n\r\n")
            assert connection.response().status == 200
        one_more = stack.enter_context(connected(edge))
        one_more.send(post(photo))
        response = one_more.response()
        assert response.status == 503
        assert schemas.Problem.model_validate(response.json()).title == "Service Unavailable"
        assert one_more.is_closed_by_the_edge()
        held[0].send(post(photo))
        assert held[0].response().status == 200
    with client_of(edge) as client:
        wait_for(lambda: _is_answered(lambda: detect(client, photo).status_code), "room for new connections")


def test_a_kept_connection_serves_one_request_after_another(edge: Running, photo: bytes) -> None:
    with connected(edge) as connection:
        for _ in range(5):
            connection.send(post(photo))
            assert connection.response().status == 200
        time.sleep(_HEADER_S * 1.5)  # idle between two requests is no offense
        connection.send(post(photo))
        assert connection.response().status == 200


def test_pipelined_requests_are_answered_in_order(edge: Running, photo: bytes) -> None:
    with connected(edge) as connection:
        requests = [post(photo, X_Request_Id=f"r{index}") for index in range(30)]
        connection.send(b"".join(requests))
        for index in range(30):
            response = connection.response()
            assert (response.status, response.headers["x-request-id"]) == (200, f"r{index}")
        drip(connection, b"\r\n", 10)
        assert connection.is_closed_by_the_edge()


def test_a_slow_second_request_does_not_spoil_the_firsts_answer(edge: Running, photo: bytes) -> None:
    many = 80
    with connected(edge) as connection:
        connection.send(b"".join(post(photo) for _ in range(many)) + b"POST /v1/det")
        for _ in range(many):
            assert connection.response().status == 200
        assert connection.response().status == 408


def _ask_without_listening(connection: RawConnection, request: bytes) -> None:
    for _ in range(60):
        connection.send(request)
    while connection.response():
        time.sleep(0.5)


def _is_answered(ask: Callable[[], int]) -> bool:
    try:
        return ask() == 200
    except OSError:
        return False
