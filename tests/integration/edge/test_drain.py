"""SIGTERM: what was accepted is answered, what comes is refused, the process ends cleanly."""

import itertools
import resource
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.processes import Running, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, wait_for, wait_for_link
from tests.integration.edge.raw_http import RawConnection, connected, post

_CLIENTS = 12
_ACCEPTED = 30


@pytest.mark.parametrize("with_cloud", [False, True], ids=["alone", "with-a-cloud"])
def test_photos_that_were_accepted_are_answered(tmp_path: Path, photo: bytes, with_cloud: bool) -> None:
    with stopping(*([start_cloud(tmp_path)] if with_cloud else [])) as clouds:
        options = [option for cloud in clouds for option in ("--cloud", cloud.address)]
        with stopping(start_edge(tmp_path, *options)) as (edge,):
            if with_cloud:
                with client_of(edge) as client:
                    wait_for_link(client)
            statuses = _ask_until_told_to_stop(edge, photo)
            assert edge.process.wait(20) == 0
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= _CLIENTS
    assert not complaints(edge)
    assert '"event": "stopped"' in edge.log.read_text()


def _ask_until_told_to_stop(edge: Running, photo: bytes) -> Counter[int]:
    """Each client asks over one connection until an answer ends it; a photo without an answer is an error."""
    statuses: Counter[int] = Counter()
    busy = threading.Barrier(_CLIENTS + 1)

    def ask() -> None:
        with connected(edge) as connection:
            for index in itertools.count():
                connection.send(post(photo, X_Deadline_Ms="20000"))
                if index == 1:
                    busy.wait(30)
                response = connection.response()
                statuses[response.status] += 1
                if response.headers.get("connection") == "close":
                    return

    with ThreadPoolExecutor(_CLIENTS) as pool:
        clients = [pool.submit(ask) for _ in range(_CLIENTS)]
        busy.wait(30)
        edge.signal(signal.SIGTERM)
        for client in clients:
            client.result()
    return statuses


def test_new_photos_are_refused_while_old_ones_are_answered(tmp_path: Path, photo: bytes) -> None:
    with stopping(start_edge(tmp_path)) as (edge,), ExitStack() as opened:
        client = opened.enter_context(client_of(edge))
        assert client.get("/health/ready").json() == {"status": "ready"}
        old = [opened.enter_context(connected(edge)) for _ in range(80)]
        new, asking = (opened.enter_context(connected(edge)) for _ in range(2))
        for connection in old:
            connection.send(post(photo, X_Deadline_Ms="20000"))
        wait_for(lambda: client.get("/v1/cluster").json()["edges"][0]["waiting"] >= _ACCEPTED, "a queue")
        edge.signal(signal.SIGTERM)
        wait_for(lambda: _health(asking) == (503, {"status": "draining"}), "word that the node drains")
        new.send(post(photo))
        refused = new.response()
        assert (refused.status, refused.json()["title"]) == (503, "Draining")
        statuses = Counter(connection.response().status for connection in old)
        assert statuses[200] >= _ACCEPTED, "the others may have come after the signal"
        assert set(statuses) <= {200, 503}
        assert edge.process.wait(20) == 0


def _health(connection: RawConnection) -> tuple[int, object]:
    connection.send(b"GET /health/ready HTTP/1.1\r\nHost: e\r\n\r\n")
    response = connection.response()
    return response.status, response.json()


def test_a_log_that_cannot_be_written_does_not_keep_the_node_from_ending(tmp_path: Path) -> None:
    with stopping(start_edge(tmp_path)) as (edge,):
        _, most = resource.prlimit(edge.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(edge.pid, resource.RLIMIT_FSIZE, (0, most))  # as a full disk
        edge.signal(signal.SIGTERM)
        assert edge.process.wait(20) in (0, 120), "120 is Python's own word that its output was lost"


def test_interrupting_twice_ends_at_once(tmp_path: Path, photo: bytes) -> None:
    with stopping(start_edge(tmp_path)) as (edge,), connected(edge) as connection:
        connection.send(post(photo)[:5000])  # without it one interrupt would be enough
        edge.signal(signal.SIGINT)
        wait_for(lambda: '"event": "draining"' in edge.log.read_text(), "word that the node drains")
        edge.signal(signal.SIGINT)
        assert edge.process.wait(20) == 130
    assert not complaints(edge)
    assert edge.log.read_text().splitlines()[-1].count('"event": "draining"') == 1, "not a word more"
