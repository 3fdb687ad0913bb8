"""The compose cluster: images, overload, an edge cut off from the cloud, and nothing left in the end."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from edgedet_iot import Client, Detections

from tests.system.docker.containers import ROOT, compose_project, docker, left_over, poll

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(900)]

PROJECT = "edgedet-test"
UPLINK = f"{PROJECT}_uplink"
EDGES = {"edge-1": "http://127.0.0.1:8081", "edge-2": "http://127.0.0.1:8082"}
IMAGES = ("edgedet/edge:0.1.0", "edgedet/cloud:0.1.0", "edgedet/iot:0.1.0")
SETTLE_S = 60.0
RECOVERY_S = 120.0


compose = compose_project(PROJECT)


def get(edge: str, path: str) -> Any:
    return httpx.get(EDGES[edge] + path, timeout=10, trust_env=False).raise_for_status().json()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    try:
        compose("up", "--build", "--wait", timeout_s=600)
        yield
    finally:
        compose("down", "--volumes")


def placements(edge: str) -> set[str]:
    rows = get(edge, "/v1/metrics/latency")["placements"]
    return {name for name, row in rows.items() if name != "all" and row["count"]}


def answers(edge: str, photos: list[Path]) -> list[Detections]:
    """Answers for all photos, beside the simulators that overload the edge; refusals are tried again."""
    with Client(EDGES[edge], deadline_s=60, retries=50) as client:
        return [client.detect(photo) for photo in photos]


def test_a_minute_after_the_start_tails_run_in_the_cloud_beside_photos_at_home(cluster):
    def both() -> bool:
        return get("edge-1", "/v1/metrics/offload")["offloaded"] > 10 and {"edge", "split"} <= placements("edge-1")

    poll(both, SETTLE_S, lambda: get("edge-1", "/v1/metrics/offload"))
    offload = get("edge-1", "/v1/metrics/offload")
    assert offload["bytes_sent"] > 0
    assert [cloud["address"] for cloud in offload["clouds"]] == ["cloud:9000"]


def test_an_edge_with_more_photos_than_it_can_take_hands_many_over(cluster):
    def many() -> bool:
        return get("edge-1", "/v1/metrics/offload?window_s=10")["ratio"] >= 0.25

    poll(many, SETTLE_S, lambda: (get("edge-1", "/v1/metrics/offload"), compose("logs", "--tail", "20", "iot-1")))


def test_any_edge_tells_of_the_whole_cluster(cluster):
    for edge in EDGES:
        poll(
            lambda edge=edge: {one["id"] for one in get(edge, "/v1/cluster")["edges"]} == set(EDGES),
            SETTLE_S,
            lambda edge=edge: get(edge, "/v1/cluster"),
        )
    assert get("edge-2", "/v1/metrics/offload?scope=cluster")["registry"] == "up"


def test_containers_run_as_nobody_on_a_read_only_file_system(cluster):
    for container in compose("ps", "--quiet").split():
        told = json.loads(docker("inspect", container))[0]
        name = told["Name"]
        assert told["Config"]["User"] not in ("", "root", "0"), name
        assert told["HostConfig"]["ReadonlyRootfs"], name
        assert told["HostConfig"]["CapDrop"] == ["ALL"], name
        ports = told["HostConfig"]["PortBindings"] or {}
        assert all(binding["HostIp"] == "127.0.0.1" for bindings in ports.values() for binding in bindings), name


def test_every_image_holds_only_what_its_component_needs(cluster):
    unwanted = {"edge": ("torch", "scipy"), "cloud": ("torch", "scipy", "fastapi"), "iot": ("torch", "numpy", "grpc")}
    for image in IMAGES:
        names = unwanted[image.partition("/")[2].partition(":")[0]]
        code = f"import importlib.util as u; print([n for n in {names!r} if u.find_spec(n)])"
        found = docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", code)
        assert found.strip() == "[]", image


def test_simulators_reach_no_cloud_and_no_redis(cluster):
    code = "import socket; socket.getaddrinfo('edge-1', 8080); print('edge-1 found'); socket.getaddrinfo({!r}, 1)"
    for name in ("cloud", "redis"):
        done = subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, "exec", "-T", "iot-1", "python", "-c", code.format(name)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "edge-1 found" in done.stdout
        assert "gaierror" in done.stderr, name


def test_an_edge_cut_off_from_the_cloud_answers_by_itself_and_finds_back(cluster, sample_photos):
    reference = [answer.detections for answer in answers("edge-2", sample_photos)]
    container = f"{PROJECT}-edge-1-1"
    docker("network", "disconnect", UPLINK, container)
    try:
        cut_off = answers("edge-1", sample_photos)
        assert [answer.detections for answer in cut_off] == reference
        poll(
            lambda: all(cloud["breaker"] != "closed" for cloud in get("edge-1", "/v1/metrics/offload")["clouds"]),
            RECOVERY_S,
            lambda: get("edge-1", "/v1/metrics/offload"),
        )
        assert {answer.route.placement for answer in answers("edge-1", sample_photos)} == {"edge"}
        assert get("edge-1", "/v1/cluster")["registry"] == "down"
    finally:
        docker("network", "connect", UPLINK, container)

    def splits_again() -> bool:
        return "split" in {answer.route.placement for answer in answers("edge-1", sample_photos)}

    poll(splits_again, RECOVERY_S, lambda: get("edge-1", "/v1/metrics/offload"))
    poll(lambda: get("edge-1", "/v1/cluster")["registry"] == "up", RECOVERY_S, lambda: get("edge-1", "/v1/cluster"))


def test_the_cloud_may_be_killed_and_comes_back(cluster, sample_photos):
    compose("kill", "cloud")
    assert len(answers("edge-1", sample_photos)) == len(sample_photos)
    compose("up", "--wait", "--no-recreate", "cloud", timeout_s=300)

    def splits_again() -> bool:
        return "split" in {answer.route.placement for answer in answers("edge-1", sample_photos)}

    poll(splits_again, RECOVERY_S, lambda: get("edge-1", "/v1/metrics/offload"))


def test_down_leaves_nothing(cluster):
    assert left_over(PROJECT)
    compose("down", "--volumes")
    assert left_over(PROJECT) == []
