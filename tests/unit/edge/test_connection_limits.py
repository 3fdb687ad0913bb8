"""What connections tell and count, in a server of this process."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import uvicorn
import uvloop
from edgedet_edge.connection_limits import CONNECTION, ConnectionLimits, limited_protocol
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

_LIMITS = ConnectionLimits(header_timeout_s=30, body_timeout_s=30, min_body_bytes_s=1000, max_connections=1)
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(app: App, client: Callable[[Callable[[], Awaitable[Streams]]], Awaitable[None]]) -> list[int]:
    """Let a client connect to a server of `app`; the statuses of what was refused."""
    refused: list[int] = []

    async def scene() -> None:
        config = uvicorn.Config(app, http=limited_protocol(_LIMITS, refused.append), lifespan="off")
        config.load()
        state = ServerState()
        protocol = config.http_protocol_class
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
            "127.0.0.1",
            0,
        )
        host, port = server.sockets[0].getsockname()
        async with asyncio.timeout(20):
            await client(lambda: asyncio.open_connection(host, port))
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
    return refused


def test_a_client_that_leaves_after_a_large_body_is_noticed() -> None:
    """uvicorn pauses the reading while 64 kB of a body wait for the handler."""
    reading, whole, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reading.set()
        assert len(await Request(scope, receive, send).body()) == 200_000
        scope["state"][CONNECTION].leaving = gone.set
        whole.set()
        await gone.wait()

    async def leave(connect: Callable[[], Awaitable[Streams]]) -> None:
        _, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 200000\r\n\r\n")
        await reading.wait()
        writer.write(bytes(200_000))
        await whole.wait()
        writer.close()
        await gone.wait()

    assert run(app, leave) == []


def test_what_is_refused_before_it_is_a_request_is_counted() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("no request came")

    async def ask(connect: Callable[[], Awaitable[Streams]]) -> None:
        first, second = await connect(), await connect()
        assert b" 503 " in await second[0].readline()
        first[1].write(b"no HTTP at all\r\n\r\n")
        assert b" 400 " in await first[0].readline()
        for _, writer in (first, second):
            writer.close()

    assert sorted(run(app, ask)) == [HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE]
