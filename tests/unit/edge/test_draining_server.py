"""The server's end."""

import asyncio
import socket

import uvicorn
import uvloop
from edgedet_edge.connection_limits import ConnectionLimits, limited_protocol
from edgedet_edge.draining_server import DrainingServer
from starlette.responses import PlainTextResponse

_LIMITS = ConnectionLimits(header_timeout_s=30, body_timeout_s=30, min_body_bytes_s=1000, max_connections=10)


def test_a_connection_that_is_accepted_at_the_last_moment_is_closed_as_well() -> None:
    async def stop_while_one_comes() -> bytes:
        config = uvicorn.Config(
            PlainTextResponse("hello"),
            http=limited_protocol(_LIMITS, _nobody),
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = DrainingServer(config, _nothing_to_drain)
        config.load()
        server.lifespan = config.lifespan_class(config)
        listener = socket.create_server(("127.0.0.1", 0))
        await server.startup([listener])
        with socket.create_connection(listener.getsockname(), timeout=5) as client:
            await asyncio.sleep(0)  # the loop accepts it, and makes it a connection in the next round
            assert not server.server_state.connections
            await server.shutdown([listener])
            assert not server.server_state.connections
            return client.recv(1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(stop_while_one_comes()) == b""


async def _nothing_to_drain() -> None:
    pass


def _nobody(_: int) -> None:
    pass
