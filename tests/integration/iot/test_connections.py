"""How many connections a client opens, as a server sees them."""

import asyncio
from dataclasses import dataclass, field

import httpx
from edgedet_iot.connections import ConnectionStack


@dataclass
class Door:
    """An HTTP server that counts connections and answers when it is told to."""

    connections: int = 0
    requests: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    arrivals: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def wait_for(self, requests: int) -> None:
        async with asyncio.timeout(30):
            for _ in range(requests):
                await self.arrivals.acquire()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                self.arrivals.release()
                await self.open.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()


async def with_door(visit) -> Door:
    door = Door()
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, httpx.AsyncClient(transport=ConnectionStack(), trust_env=False) as client:
        await visit(door, client, url)
    return door


def test_requests_one_after_the_other_share_a_connection():
    async def visit(door, client, url):
        door.open.set()
        for _ in range(5):
            assert (await client.get(url)).text == "ok"

    door = asyncio.run(with_door(visit))
    assert (door.requests, door.connections) == (5, 1)


def test_requests_at_once_have_a_connection_each_and_leave_them_to_later_ones():
    async def visit(door, client, url):
        waiting = [asyncio.create_task(client.get(url)) for _ in range(20)]
        await door.wait_for(20)
        door.open.set()
        assert [answer.text for answer in await asyncio.gather(*waiting)] == ["ok"] * 20
        await asyncio.gather(*(client.get(url) for _ in range(20)))

    door = asyncio.run(with_door(visit))
    assert (door.requests, door.connections) == (40, 20)


def test_a_connection_that_the_server_closed_is_replaced():
    async def visit(door, client, url):
        door.open.set()
        first = await client.get(url)
        await first.extensions["network_stream"].aclose()
        assert (await client.get(url)).text == "ok"

    door = asyncio.run(with_door(visit))
    assert (door.requests, door.connections) == (2, 2)


def test_a_request_that_was_cancelled_leaves_a_usable_transport():
    async def visit(door, client, url):
        task = asyncio.create_task(client.get(url))
        await door.wait_for(1)
        task.cancel()
        await asyncio.wait([task])
        door.open.set()
        assert (await client.get(url)).text == "ok"

    assert asyncio.run(with_door(visit)).connections == 2
