"""The registry: nodes put themselves into Redis with a time to live; without Redis all else goes on.

Keys: ``edgedet:node:<id>`` holds the node's state and its last minute of measurements, renewed every heartbeat.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

HEARTBEAT_S = 1.0
TTL_S = 5
_TIMEOUT_S = 0.5
_PREFIX = "edgedet:node:"

Status = Literal["up", "down", "off"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as it last reported itself."""

    node_id: str
    state: dict[str, Any]
    buckets: list[dict[str, Any]]
    age_s: float


class Registry:
    """Heartbeats and reads; every fault of Redis is a status, logged once when it changes."""

    def __init__(self, url: str, node_id: str, report: Callable[[], dict[str, Any]]) -> None:
        self._node_id = node_id
        self._report = report
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) if url else None
        self._task: asyncio.Task[None] | None = None
        self.status: Status = "down" if url else "off"
        self._logged: Status | None = None

    def start(self) -> None:
        """Begin the heartbeats, where there is a registry."""
        if self._redis is not None:
            self._task = asyncio.create_task(self._beat(self._redis), name="registry-heartbeat")

    async def stop(self) -> None:
        """End the heartbeats and take the node out."""
        if self._task is None or self._redis is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._redis.delete(_PREFIX + self._node_id)
        except (RedisError, OSError) as error:
            log.info("registry entry left to its time to live", error=str(error))
        await self._redis.aclose()

    async def others(self) -> list[NodeRecord]:
        """All other nodes; empty when there is no registry or it does not answer."""
        if self._redis is None:
            return []
        own = (_PREFIX + self._node_id).encode()
        try:
            keys = sorted([key async for key in self._redis.scan_iter(_PREFIX + "*") if key != own])
            values = await self._redis.mget(keys) if keys else []
        except (RedisError, OSError) as error:
            self._changed("down", error)
            return []
        self._changed("up")
        return [_record(value) for value in values if value is not None]

    async def _beat(self, redis: Redis) -> None:
        while True:
            content = {**self._report(), "node_id": self._node_id, "sent_s": time.time()}
            try:
                await redis.set(_PREFIX + self._node_id, orjson.dumps(content), ex=TTL_S)
                self._changed("up")
            except (RedisError, OSError) as error:
                self._changed("down", error)
            await asyncio.sleep(HEARTBEAT_S)

    def _changed(self, status: Status, error: Exception | None = None) -> None:
        self.status = status
        if status == self._logged:
            return
        self._logged = status
        if status == "down":
            log.warning("registry does not answer; the cluster view is this node alone", error=str(error))
        else:
            log.info("registry answers")


def _record(value: bytes | str) -> NodeRecord:
    content = orjson.loads(value)
    # Wall clocks of machines differ by more than a heartbeat now and then; an age is never negative.
    age_s = max(0.0, time.time() - content["sent_s"])
    return NodeRecord(content["node_id"], content["state"], content["buckets"], age_s)
