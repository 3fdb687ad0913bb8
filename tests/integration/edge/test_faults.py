"""A cloud or a registry that fails under load: no photo is lost, none is wrong, and afterwards all is as before.

The edge has core 0 for itself; cloud and sender share the other. The load is 0.8 of what the edge answers alone.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from demo.processes import Running, free_port, start_cloud, start_edge, start_redis, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for, wait_for_link
from tests.integration.edge.fused_model import FusedModel
from tests.integration.edge.open_loop import OpenLoop
from tests.integration.edge.raw_http import connected, post
from tests.integration.edge.swallowing_proxy import SwallowingProxy

_EDGE_CPU, _OTHER_CPU = 0, max(os.sched_getaffinity(0))
_LOAD = 0.8
# Long: what this is about is whether answers come, and other processes may have the machine for a while.
_DEADLINE_MS = 5000.0
_BEFORE_S, _DURING_S, _AFTER_S = 2.0, 4.0, 1.5


@pytest.fixture(scope="module", autouse=True)
def _sender_beside_the_cloud() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_OTHER_CPU})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def photos(sample_photos: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in sample_photos]


@pytest.fixture(scope="module")
def expected(fused: FusedModel, photos: list[bytes]) -> list[list[dict[str, object]]]:
    return [fused.detect(photo) for photo in photos]


def start_pinned_edge(log_folder: Path, *options: str) -> Running:
    return start_edge(log_folder, "--allow-forced-boundary", *options, cpus=[_EDGE_CPU])


def capacity(edge: Running, photos: list[bytes], boundary: int) -> float:
    """Photos a second that the edge answers by itself, two clients taking turns."""
    stop_s = time.monotonic() + 2.0

    def ask() -> int:
        with connected(edge) as connection:
            answered = 0
            while time.monotonic() < stop_s:
                photo = photos[answered % len(photos)]
                connection.send(post(photo, f"/v1/detect?boundary={boundary}", X_Deadline_Ms="20000"))
                assert connection.response().status == 200
                answered += 1
            return answered

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(ask) for _ in range(2)]
        return sum(client.result() for client in clients) / 2.0


@dataclass(frozen=True)
class FragileCloud:
    """Breaks and is mended again."""

    address: str
    break_it: Callable[[], None]
    mend_it: Callable[[], None]


def kill(stack: ExitStack, folder: Path) -> FragileCloud:
    """`kill -9` of the cloud; another takes its place."""
    port = free_port()
    cloud = stack.enter_context(stopping(start_cloud(folder, port=port, cpus=[_OTHER_CPU])))[0]

    def start_again() -> None:
        stack.enter_context(stopping(start_cloud(folder, port=port, cpus=[_OTHER_CPU])))

    return FragileCloud(cloud.address, lambda: cloud.signal(signal.SIGKILL), start_again)


def freeze(stack: ExitStack, folder: Path) -> FragileCloud:
    """SIGSTOP of the cloud: the kernel still takes what is sent."""
    cloud = stack.enter_context(stopping(start_cloud(folder, cpus=[_OTHER_CPU])))[0]
    return FragileCloud(cloud.address, lambda: cloud.signal(signal.SIGSTOP), lambda: cloud.signal(signal.SIGCONT))


def swallow(stack: ExitStack, folder: Path) -> FragileCloud:
    """A network that swallows bytes: nothing is refused, nothing arrives."""
    cloud = stack.enter_context(stopping(start_cloud(folder, cpus=[_OTHER_CPU])))[0]
    proxy = stack.enter_context(SwallowingProxy(cloud.address))
    return FragileCloud(proxy.address, proxy.swallow, proxy.recover)


@pytest.mark.parametrize("fault", [kill, freeze, swallow])
def test_a_cloud_that_fails_under_load_costs_no_answer(
    tmp_path: Path,
    photos: list[bytes],
    expected: list[list[dict[str, object]]],
    fused: FusedModel,
    fault: Callable[[ExitStack, Path], FragileCloud],
) -> None:
    with ExitStack() as stack:
        cloud = fault(stack, tmp_path)
        edge = stack.enter_context(stopping(start_pinned_edge(tmp_path, "--cloud", cloud.address)))[0]
        client = stack.enter_context(client_of(edge))
        wait_for_link(client)
        rate = _LOAD * capacity(edge, photos, fused.segment_count)
        with OpenLoop(edge, photos, rate, _DEADLINE_MS) as load:
            time.sleep(_BEFORE_S)
            assert client.get("/v1/metrics/offload").json()["offloaded"] > 0
            cloud.break_it()
            time.sleep(_DURING_S)
            assert client.get("/v1/metrics/offload?window_s=1").json()["clouds"][0]["breaker"] != "closed"
            cloud.mend_it()
            wait_for_link(client)
            time.sleep(_AFTER_S)
        wait_for_link(client)
        wait_for(lambda: _splits_again(client, photos[0]), "handovers as before")
    _check(load, expected)
    assert not complaints(edge)


def test_a_registry_that_stops_and_comes_back_under_load_costs_no_answer(
    tmp_path: Path, photos: list[bytes], expected: list[list[dict[str, object]]], fused: FusedModel
) -> None:
    port = free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(stopping(start_redis(tmp_path, port=port)))[0]
        edge = stack.enter_context(stopping(start_pinned_edge(tmp_path, "--redis", f"redis://127.0.0.1:{port}/0")))[0]
        client = stack.enter_context(client_of(edge))
        rate = _LOAD * capacity(edge, photos, fused.segment_count)
        with OpenLoop(edge, photos, rate, _DEADLINE_MS) as load:
            wait_for(lambda: _registry(client) == "up", "the registry")
            redis.stop()
            wait_for(lambda: _registry(client) == "down", "word that the registry is gone")
            time.sleep(1.0)
            stack.enter_context(stopping(start_redis(tmp_path, port=port)))
            wait_for(lambda: _registry(client) == "up", "the registry again")
    _check(load, expected)
    assert not complaints(edge)


def _check(load: OpenLoop, expected: list[list[dict[str, object]]]) -> None:
    statuses = load.statuses()
    failed = [outcome for outcome in load.outcomes if outcome.status not in (200, 429)]
    assert not failed, (statuses, failed[:3])
    answered = [outcome for outcome in load.outcomes if outcome.status == 200]
    wrong = [outcome for outcome in answered if outcome.content["detections"] != expected[outcome.photo]]
    assert not wrong
    assert len(answered) > 0.5 * len(load.outcomes), statuses
    # The deadline is the edge's; what the loopback and this process add is not.
    assert all(outcome.content["timing_ms"]["total"] <= _DEADLINE_MS for outcome in answered)


def _splits_again(client: httpx.Client, photo: bytes) -> bool:
    placement: str = detect(client, photo, boundary=2).json()["route"]["placement"]
    return placement == "split"


def _registry(client: httpx.Client) -> str:
    status: str = client.get("/v1/cluster").json()["registry"]
    return status
