"""The registry: nodes put themselves into Redis with a time to live; without Redis all else goes on.

Keys: ``edgedet:node:<id>`` holds the node's state, its last minute of measurements and its process's mark, renewed
every heartbeat.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import structlog
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from edgedet_edge.measurements import Bucket
from edgedet_edge.schemas import EdgeState

HEARTBEAT_S = 1.0
TTL_S = 5
_TIMEOUT_S = 0.5
_PREFIX = "edgedet:node:"

Status = Literal["up", "down", "off"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node as it last reported itself: its `EdgeState` and what it measured."""

    state: dict[str, Any]
    buckets: list[Bucket]


class Registry:
    """Heartbeats and reads; every fault of Redis is a status, logged once when it changes."""

    def __init__(self, url: str, node_id: str, report: Callable[[], dict[str, Any]]) -> None:
        self._node_id = node_id
        self._report = report
        self._redis = _connect(url) if url else None
        self._task: asyncio.Task[None] | None = None
        self.status: Status = "down" if url else "off"
        self._logged: Status | None = None
        self._unreadable: set[bytes | str] = set()
        self._writer = secrets.token_hex(8)
        self._namesake = False

    def start(self) -> None:
        """Begin the heartbeats, where there is a registry."""
        if self._redis is not None:
            self._task = asyncio.create_task(self._beat(self._redis), name="registry-heartbeat")
            self._task.add_done_callback(_tell)

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
        own = _PREFIX + self._node_id
        try:
            # A set: while keys come and go, Redis may name one twice. Its keys are text where the URL asks for that.
            found = {key async for key in self._redis.scan_iter(_PREFIX + "*", count=1000)}
            keys = sorted(found - {own, own.encode()})
            values, left_ms = await _read(self._redis, keys) if keys else ([], [])
        except (RedisError, OSError) as error:
            self._changed("down", error)
            return []
        records = [
            self._record(key, value, TTL_S - ms / 1000)
            for key, value, ms in zip(keys, values, left_ms, strict=True)
            if value is not None
        ]
        return [record for record in records if record is not None]

    async def _beat(self, redis: Redis) -> None:
        key, written = _PREFIX + self._node_id, False
        while True:
            try:
                async with redis.pipeline(transaction=False) as asked:
                    asked.get(key)
                    asked.set(key, orjson.dumps({**self._report(), "writer": self._writer}), ex=TTL_S)
                    before, _ = await asked.execute()
                if written:  # before that an earlier process of this node may have
                    self._look_for_a_namesake(before)
                written = True
                self._changed("up")
            except Exception as error:  # whatever it is, heartbeats that end would take this node out of the cluster
                self._changed("down", error)
            await asyncio.sleep(HEARTBEAT_S)

    def _look_for_a_namesake(self, before: bytes | str | None) -> None:
        """Two nodes of one name overwrite each other, and the cluster shows one; told once."""
        if self._namesake or before is None or self._writer in str(before):
            return
        self._namesake = True
        log.warning("another node has this one's name: give each its own --node-id", node_id=self._node_id)

    def _record(self, key: bytes | str, value: bytes | str, age_s: float) -> NodeRecord | None:
        """What another node wrote; one that this version cannot read is left out, and told once."""
        try:
            record = _parse(value, age_s)
        except (ValueError, TypeError, KeyError, AttributeError, DecodeError) as error:
            if key not in self._unreadable:
                self._unreadable.add(key)
                log.warning("registry entry cannot be read", key=str(key), error=repr(error))
            return None
        self._unreadable.discard(key)
        return record

    def _changed(self, status: Status, error: Exception | None = None) -> None:
        self.status = status
        if status == self._logged:
            return
        self._logged = status
        if status == "down":
            log.warning("registry does not answer; the cluster view is this node alone", error=str(error))
        else:
            log.info("registry answers")


def _connect(url: str) -> Redis:
    """A client that tells of a fault at once: the next heartbeat is the retry."""
    return Redis.from_url(
        url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), retries=0)
    )


async def _read(redis: Redis, keys: list[bytes | str]) -> tuple[list[Any], list[int]]:
    """Values, and the milliseconds that each has left: they tell its age, whatever a machine without a clock thinks."""
    async with redis.pipeline(transaction=False) as asked:
        asked.mget(keys)
        for key in keys:
            asked.pttl(key)
        values, *left_ms = await asked.execute()
        return values, left_ms


def _parse(value: bytes | str, age_s: float) -> NodeRecord:
    content = orjson.loads(value)
    state = EdgeState.model_validate({**content["state"], "age_s": round(age_s, 2)}).model_dump(mode="json")
    return NodeRecord(state, [Bucket.from_json(bucket) for bucket in content["buckets"]])


def _tell(task: "asyncio.Task[None]") -> None:
    """Heartbeats that end must not do so silently: the others would take this node for dead."""
    if not task.cancelled() and task.exception() is not None:
        log.error("heartbeats ended", exc_info=task.exception())
