"""`make up` and `make down`, in a folder of their own so that a cluster that somebody runs is left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from edgedet_iot import Client

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 30.0


def cluster(verb: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "demo.cluster", verb, "--folder", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def members(folder: Path) -> dict[str, dict[str, object]]:
    return {member["name"]: member for member in json.loads((folder / "cluster.json").read_text())}


def runs(pid: object) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cluster")
    cluster("up", folder)
    yield folder
    cluster("down", folder)


@pytest.fixture(scope="module")
def edges(folder: Path) -> list[str]:
    return [f"http://{members(folder)[name]['address']}" for name in ("edge-1", "edge-2")]


def test_every_edge_shows_both_edges_and_the_cloud(edges):
    for edge in edges:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            content = httpx.get(f"{edge}/v1/cluster", trust_env=False).json()
            seen = {one["id"]: [cloud["address"] for cloud in one["clouds"]] for one in content["edges"]}
            if set(seen) == {"edge-1", "edge-2"} and all(seen.values()):
                break
            assert time.monotonic() < deadline, content
            time.sleep(0.1)
        assert content["registry"] == "up"


def test_both_edges_answer_alike(edges, sample_photos):
    answers = []
    for edge in edges:
        with Client(edge) as client:
            answers.append([client.detect(photo).detections for photo in sample_photos])
    assert answers[0] == answers[1]


def test_up_prints_addresses_and_leaves_a_running_cluster_as_it_is(folder, edges):
    before = members(folder)
    printed = cluster("up", folder)
    assert members(folder) == before
    assert all(edge in printed for edge in edges)
    assert "curl" in printed


def test_up_replaces_a_cluster_that_lost_a_member(folder, edges):
    before = members(folder)
    (folder / "before.json").hardlink_to(folder / "cluster.json")
    os.kill(int(str(before["edge-2"]["pid"])), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while runs(before["edge-2"]["pid"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cluster("up", folder)
    after = members(folder)
    assert all(runs(member["pid"]) for member in after.values())
    assert not any(runs(member["pid"]) for member in before.values())
    # The file was replaced, never written over: cut off in the middle it would tell of no member at all.
    assert json.loads((folder / "before.json").read_text()) == list(before.values())


def test_down_leaves_nothing_and_may_be_repeated(folder):
    pids = [member["pid"] for member in members(folder).values()]
    assert len(pids) == 4
    assert "Stopped" in cluster("down", folder)
    assert not any(runs(pid) for pid in pids)
    assert not (folder / "cluster.json").exists()
    assert "No cluster is running" in cluster("down", folder)


def test_down_spares_a_process_that_merely_has_the_same_id(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        member = {"name": "edge-1", "pid": other.pid, "started": 1, "address": "127.0.0.1:1"}
        (tmp_path / "cluster.json").write_text(json.dumps([member]))
        assert "No cluster is running" in cluster("down", tmp_path)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
