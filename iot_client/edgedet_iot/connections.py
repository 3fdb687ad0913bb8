"""A transport for many requests at once: one connection for each under way, the idle one used last taken first.

httpx's own pool looks at every connection for every request, which with hundreds of photos under way costs more than
all the rest of sending them.
"""

from collections.abc import AsyncIterator

import httpx

KEEPALIVE_S = 5.0


class ConnectionStack(httpx.AsyncBaseTransport):
    """Connections by origin; a broken or old one is replaced by httpx when it is used next."""

    def __init__(self) -> None:
        self._context = httpx.create_ssl_context(trust_env=False)
        self._idle: dict[tuple[str, str, int | None], list[httpx.AsyncHTTPTransport]] = {}
        self._all: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on an idle connection, or on a new one."""
        idle = self._idle.setdefault((request.url.scheme, request.url.host, request.url.port), [])
        connection = idle.pop() if idle else self._new()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            idle.append(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Returning(response.stream, connection, idle)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._all:
            await connection.aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        one = httpx.Limits(max_connections=1, keepalive_expiry=KEEPALIVE_S)
        connection = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False, limits=one)
        self._all.append(connection)
        return connection


class _Returning(httpx.AsyncByteStream):
    """A response's body that gives its connection back when it is closed."""

    def __init__(
        self, body: httpx.AsyncByteStream, connection: httpx.AsyncHTTPTransport, idle: list[httpx.AsyncHTTPTransport]
    ) -> None:
        self._body, self._connection, self._idle = body, connection, idle

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()
        self._idle.append(self._connection)
