"""What the registry makes of what Redis says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from edgedet_edge.registry import TTL_S, Registry

KEYS = ("edgedet:node:here", "edgedet:node:there", "edgedet:node:there")
"""As SCAN may answer while Redis makes its table larger or smaller."""


def state(name: str) -> dict[str, object]:
    fixed = {"address": "", "workers": 1, "waiting": 0, "utilization": 0.0, "models": {}, "clouds": []}
    return {"id": name, **fixed}


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


def reply_to(command: list[bytes]) -> bytes:
    match command[0].upper():
        case b"SCAN":
            # Redis looks at ten keys at a time where it is not told more.
            assert int(dict(zip(command[2::2], command[3::2], strict=True))[b"COUNT"]) >= 1000
            keys = b"".join(bulk(key.encode()) for key in KEYS)
            return b"*2\r\n" + bulk(b"0") + b"*%d\r\n" % len(KEYS) + keys
        case b"MGET":
            names = [key.rpartition(b":")[2].decode() for key in command[1:]]
            records = [orjson.dumps({"state": state(name), "buckets": []}) for name in names]
            return b"*%d\r\n" % len(records) + b"".join(map(bulk, records))
        case b"PTTL":
            return b":3500\r\n"
        case b"HELLO":
            return b"-ERR unknown command\r\n"
        case _:
            return b"+OK\r\n"


@asynccontextmanager
async def redis_that_repeats() -> AsyncIterator[str]:
    """HOST:PORT."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            command = []
            for _ in range(int(header[1:])):
                length = int((await reader.readline())[1:])
                command.append((await reader.readexactly(length + 2))[:-2])
            writer.write(reply_to(command))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()


@pytest.mark.parametrize("options", ["", "&decode_responses=True"])
def test_every_other_node_is_told_once_with_the_age_of_its_entry(options: str) -> None:
    async def others() -> list[tuple[object, object]]:
        async with redis_that_repeats() as address:
            registry = Registry(f"redis://{address}/0?protocol=2{options}", "here", dict)
            found = [(record.state["id"], record.state["age_s"]) for record in await registry.others()]
            assert registry.status == "down"  # that it can be read does not tell that this node is in it
            return found

    assert asyncio.run(others()) == [("there", TTL_S - 3.5)]
