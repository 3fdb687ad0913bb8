"""uvicorn's server with an end in two steps: what was accepted is answered before anything closes."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine

import uvicorn


class DrainingServer(uvicorn.Server):
    """On SIGTERM and SIGINT: await `drain`, which refuses new photos and answers the accepted ones, then stop."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Coroutine[None, None, None]]) -> None:
        super().__init__(config)
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002  (uvicorn's signature)
        """Begin to drain; asked again, end."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain_then_exit())
        elif sig == signal.SIGINT:  # asked twice: at once
            os._exit(130)
        else:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, then have every connection end."""
        for server in self.servers:
            server.close()
        # What the loop has just accepted becomes a connection in its next round: uvicorn would not tell it to end.
        await asyncio.sleep(0)
        await super().shutdown(sockets)

    async def _drain_then_exit(self) -> None:
        await self._drain()
        self.should_exit = True
