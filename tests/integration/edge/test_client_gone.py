"""A client that leaves early: its photo costs nothing more, here or in the cloud, and nobody complains."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from demo.processes import Running, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for, wait_for_link
from tests.integration.edge.raw_http import connected, post

_LEAVING = 60


@pytest.fixture(scope="module")
def cloud(log_folder: Path) -> Iterator[Running]:
    with stopping(start_cloud(log_folder, "--log-level", "debug")) as (cloud,):
        yield cloud
    assert not complaints(cloud)


@pytest.fixture(scope="module")
def edge(log_folder: Path, cloud: Running) -> Iterator[Running]:
    with stopping(start_edge(log_folder, "--cloud", cloud.address, "--allow-forced-boundary")) as (edge,):
        yield edge
    assert not complaints(edge)


@pytest.fixture(scope="module")
def client(edge: Running) -> Iterator[httpx.Client]:
    with client_of(edge) as client:
        wait_for_link(client)
        yield client


def answered(client: httpx.Client) -> int:
    count: int = client.get("/v1/metrics/offload").json()["requests"]
    return count


def left(client: httpx.Client) -> float:
    """Requests whose client was gone."""
    lines = [line for line in client.get("/metrics").text.splitlines() if 'status="499"' in line and "_total" in line]
    return sum(float(line.split()[-1]) for line in lines)


def waiting(client: httpx.Client) -> int:
    (edge,) = client.get("/v1/cluster").json()["edges"]
    count: int = edge["waiting"]
    return count


def test_photos_of_clients_that_left_are_not_computed(client: httpx.Client, edge: Running, photo: bytes) -> None:
    before, left_before = answered(client), left(client)
    with ExitStack() as clients:
        for _ in range(_LEAVING):
            clients.enter_context(connected(edge)).send(post(photo, X_Deadline_Ms="60000"))
        wait_for(lambda: waiting(client), "photos in the queue")
    wait_for(lambda: waiting(client) == 0, "an empty queue")
    assert detect(client, photo).status_code == 200
    gone, done = left(client) - left_before, answered(client) - before - 1
    assert gone + done == _LEAVING
    assert gone > 0


def test_a_client_that_leaves_while_it_sends_is_no_fault(client: httpx.Client, edge: Running, photo: bytes) -> None:
    left_before = left(client)
    for kept in (200, len(photo) // 2):
        with connected(edge) as connection:
            connection.send(post(photo)[:kept])
    with connected(edge) as connection:
        head = b"POST /v1/detect HTTP/1.1\r\nHost: e\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        connection.send(head + b'Content-Length: 9999\r\n\r\n--b\r\nContent-Disposition: form-data; name="image"')
    wait_for(lambda: left(client) - left_before == 3, "three clients that left")


def test_a_handover_ends_in_the_cloud_when_the_client_leaves(
    client: httpx.Client, edge: Running, cloud: Running, photo: bytes
) -> None:
    many = 80
    before, left_before = answered(client), left(client)
    with ExitStack() as clients:
        for index in range(many):
            connection = clients.enter_context(connected(edge))
            connection.send(post(photo, "/v1/detect?boundary=1", X_Deadline_Ms="60000", X_Request_Id=f"gone-{index}"))
        wait_for(lambda: computed_in(cloud), "the first answer of the cloud, which has the larger part of the work")
    wait_for(lambda: left(client) - left_before + answered(client) - before == many, "an end of every photo")
    gone = left(client) - left_before
    assert gone > many // 4
    wait_for_link(client)
    assert detect(client, photo, boundary=1).json()["route"]["placement"] == "split"
    assert computed_in(cloud) < many - gone / 2


def computed_in(cloud: Running) -> int:
    """Photos of this test that the cloud finished."""
    events = [json.loads(line) for line in cloud.log.read_text().splitlines()]
    return sum(event["event"] == "answered" and event["request_id"].startswith("gone") for event in events)
