"""Edges that know each other through Redis, and do as well without it."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_client

from demo.processes import Running, free_port, start_cloud, start_edge, start_redis, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for

_DOWN, _UP = "registry does not answer; the cluster view is this node alone", "registry answers"
_NAMESAKE = "another node has this one's name: give each its own --node-id"


@pytest.fixture(scope="module")
def redis_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def redis(log_folder: Path, redis_port: int) -> Iterator[Running]:
    with stopping(start_redis(log_folder, port=redis_port)) as (redis,):
        yield redis


@pytest.fixture(scope="module")
def edges(log_folder: Path, redis: Running) -> Iterator[list[Running]]:
    url = f"redis://{redis.address}/0"
    with (
        stopping(start_cloud(log_folder)) as (cloud,),
        stopping(start_edge(log_folder, "--redis", url, "--node-id", "a", name="a")) as (a,),
        stopping(start_edge(log_folder, "--redis", url, "--node-id", "b", "--cloud", cloud.address, name="b")) as (b,),
    ):
        yield [a, b]
    assert not [line for edge in (a, b) for line in complaints(edge)]


@pytest.fixture(scope="module")
def clients(edges: list[Running]) -> Iterator[list[httpx.Client]]:
    with ExitStack() as stack:
        yield [stack.enter_context(client_of(edge)) for edge in edges]


def names(client: httpx.Client) -> list[str]:
    return [edge["id"] for edge in client.get("/v1/cluster").json()["edges"]]


def registry(client: httpx.Client) -> str:
    status: str = client.get("/v1/cluster").json()["registry"]
    return status


def test_every_edge_shows_all_edges_and_the_clouds_that_they_see(
    clients: list[httpx.Client], edges: list[Running]
) -> None:
    for client in clients:
        wait_for(lambda client=client: names(client) == ["a", "b"], "both edges")
        a, b = client.get("/v1/cluster").json()["edges"]
        assert (a["address"], b["address"]) == (edges[0].url, edges[1].url)
        assert a["models"] == b["models"] != {}
        assert a["clouds"] == []
        assert len(b["clouds"]) == 1
        assert 0 <= a["age_s"] < 5


def test_two_nodes_of_one_name_say_so(log_folder: Path, redis: Running) -> None:
    url = f"redis://{redis.address}/1"
    with (
        stopping(start_edge(log_folder, "--redis", url, "--node-id", "same", name="one")) as (one,),
        stopping(start_edge(log_folder, "--redis", url, "--node-id", "same", name="other")) as (other,),
    ):
        for edge in (one, other):
            told = wait_for(lambda edge=edge: [line for line in _log(edge) if line["event"] == _NAMESAKE], "a warning")
            assert [line["node_id"] for line in told] == ["same"]


def test_the_clusters_metrics_are_the_sum_of_all_edges(clients: list[httpx.Client], photo: bytes) -> None:
    for client, count in zip(clients, (3, 5), strict=True):
        for _ in range(count):
            assert detect(client, photo).status_code == 200
    own = [client.get("/v1/metrics/offload").json()["requests"] for client in clients]
    for client in clients:
        view = wait_for(lambda client=client: _cluster_of(client, sum(own)), "the sum of both")
        assert view["registry"] == "up"
        latency = client.get("/v1/metrics/latency?scope=cluster").json()["placements"]
        assert latency["all"]["count"] == sum(own)
        assert 0 < latency["all"]["p50_ms"] <= latency["all"]["p99_ms"]


def _cluster_of(client: httpx.Client, requests: int) -> dict[str, object] | None:
    view: dict[str, object] = client.get("/v1/metrics/offload?scope=cluster").json()
    return view if view["requests"] == requests else None


def test_an_entry_that_cannot_be_read_is_left_out(clients: list[httpx.Client], redis: Running) -> None:
    with redis_client.Redis.from_url(f"redis://{redis.address}/0") as registry:
        for key, value in (("x", b"not JSON"), ("y", b"[]"), ("z", b'{"state": {}, "buckets": [], "sent_s": 0}')):
            registry.set(f"edgedet:node:{key}", value)
        registry.rpush("edgedet:node:list", 1)
        for client in clients:
            assert names(client) == ["a", "b"]
            assert client.get("/v1/metrics/latency?scope=cluster").status_code == 200
        registry.delete(*(f"edgedet:node:{key}" for key in ("x", "y", "z", "list")))


def test_an_edge_that_is_killed_disappears_and_one_that_stops_says_so(
    clients: list[httpx.Client], redis: Running, log_folder: Path
) -> None:
    url = f"redis://{redis.address}/0"
    with stopping(start_edge(log_folder, "--redis", url, "--node-id", "c", name="c")) as (edge,):
        wait_for(lambda: names(clients[0]) == ["a", "b", "c"], "the third edge")
        assert edge.stop() == 0
        assert names(clients[0]) == ["a", "b"]
    with stopping(start_edge(log_folder, "--redis", url, "--node-id", "d", name="d")) as (edge,):
        wait_for(lambda: names(clients[0]) == ["a", "b", "d"], "the fourth edge")
        edge.signal(signal.SIGKILL)
        wait_for(lambda: names(clients[0]) == ["a", "b"], "the killed edge gone", within_s=10)


def test_redis_may_stop_stand_still_and_come_back(
    clients: list[httpx.Client], edges: list[Running], redis: Running, redis_port: int, log_folder: Path, photo: bytes
) -> None:
    changes_before = [_registry_changes(edge) for edge in edges]
    redis.signal(signal.SIGSTOP)
    _all_see("down", clients)
    for client, name in zip(clients, ("a", "b"), strict=True):
        assert names(client) == [name]
        for view in ("latency", "offload"):
            response = client.get(f"/v1/metrics/{view}?scope=cluster")
            assert (response.status_code, response.json()["registry"]) == (200, "down")
        assert detect(client, photo).status_code == 200
    redis.signal(signal.SIGCONT)
    _all_see("up", clients)
    assert redis.stop() in (0, -signal.SIGTERM)
    _all_see("down", clients)
    with stopping(start_redis(log_folder, port=redis_port)):
        _all_see("up", clients)
        for client in clients:
            wait_for(lambda client=client: names(client) == ["a", "b"], "both edges again")
        for edge, before in zip(edges, changes_before, strict=True):
            assert _registry_changes(edge)[len(before) :] == [_DOWN, _UP, _DOWN, _UP]


def test_an_edge_starts_without_its_registry(log_folder: Path, photo: bytes) -> None:
    with (
        stopping(start_edge(log_folder, "--redis", f"redis://:secret@127.0.0.1:{free_port()}/0", name="alone")) as (e,),
        client_of(e) as client,
    ):
        assert detect(client, photo).status_code == 200
        assert registry(client) == "down"
        assert len(names(client)) == 1
    assert "secret" not in e.log.read_text()


def _all_see(status: str, clients: list[httpx.Client]) -> None:
    for client in clients:
        wait_for(lambda client=client: registry(client) == status, f"a registry that is {status}")


def _registry_changes(edge: Running) -> list[str]:
    return [line["event"] for line in _log(edge) if line["event"] in (_DOWN, _UP)]


def _log(edge: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in edge.log.read_text().splitlines()]
