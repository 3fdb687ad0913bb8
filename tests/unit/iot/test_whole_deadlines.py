"""A deadline holds for a photo and its answer as a whole: no edge keeps a client by a byte now and then."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from edgedet_iot import AsyncClient, Client, DeadlineMissed
from edgedet_iot.timed_transport import TimedTransport

PAUSE_S = 0.02
SMALL_BUFFER = 4096
JPEG = b"\xff\xd8\xff"
DEADLINE_S, GRACE_S = 0.3, 0.1


@contextmanager
def serving(serve: Callable[[socket.socket, threading.Event], object]) -> Iterator[str]:
    """URL of a server of one connection, which it serves until the event."""
    over = threading.Event()
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        door.bind(("127.0.0.1", 0))
        door.listen()

        def run() -> None:
            connection, _ = door.accept()
            with connection:
                try:
                    serve(connection, over)
                except OSError:
                    return  # the client has left

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def drip(connection: socket.socket, over: threading.Event) -> None:
    """An answer that comes byte by byte for a quarter of an hour."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    while not over.wait(PAUSE_S):
        connection.sendall(b" ")


def sip(connection: socket.socket, over: threading.Event) -> None:
    """Takes a photo a few kilobytes at a time."""
    while not over.wait(PAUSE_S) and connection.recv(SMALL_BUFFER):
        pass


def ask(url: str, photo: bytes) -> None:
    with Client(url, deadline_s=DEADLINE_S, grace_s=GRACE_S, retries=0) as client:
        client.detect(photo)


def ask_async(url: str, photo: bytes) -> None:
    async def main() -> None:
        async with AsyncClient(url, deadline_s=DEADLINE_S, grace_s=GRACE_S, retries=0) as client:
            await client.detect(photo)

    asyncio.run(main())


@pytest.mark.parametrize("client", [ask, ask_async])
@pytest.mark.parametrize(("serve", "photo"), [(drip, JPEG), (sip, JPEG + bytes(8_000_000))], ids=["answer", "photo"])
def test_a_photo_or_an_answer_in_slow_parts_misses_the_deadline(serve, photo, client):
    with serving(serve) as url, pytest.raises(DeadlineMissed) as caught:
        client(url, photo)
    assert (caught.value.answered, caught.value.edge) == (False, url)


def test_what_uploads_and_heads_took_is_not_waited_for_again():
    """What the connection is told to wait for: for the answer's head, and for its body."""
    told = []

    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            timeout = request.extensions["timeout"]
            for _ in request.stream:
                time.sleep(PAUSE_S)
            told.append(timeout["read"])
            time.sleep(PAUSE_S)

            def body() -> Iterator[bytes]:
                told.append(timeout["read"])
                yield JPEG

            return httpx.Response(200, content=body())

    with httpx.Client(transport=TimedTransport(Slow()), timeout=10) as client:
        assert client.post("http://edge", content=JPEG).content == JPEG
    assert told[0] <= 10 - PAUSE_S
    assert told[1] <= 10 - 2 * PAUSE_S
