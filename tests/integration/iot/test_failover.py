"""Edges that die, hang and come back."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from edgedet_iot import Client, DeadlineMissed

PATIENCE_S = 30.0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def photo(sample_photos: list[Path]) -> Path:
    return sample_photos[0]


def test_a_dead_edge_is_passed_over(edge, nobody, photo):
    with Client([nobody, edge.url], retries=0) as client:
        assert client.detect(photo).edge == edge.url


def test_a_killed_edge_is_left_and_found_again_when_it_is_back(edge, start, photo):
    first = start("first")
    port = int(first.address.rpartition(":")[2])
    with Client([first.url, edge.url], retries=0) as client:
        assert client.detect(photo).edge == first.url
        first.signal(signal.SIGKILL)
        first.process.wait()
        assert client.detect(photo).edge == edge.url
        again = start("again", port=port)
        wait_until(lambda: client.detect(photo).edge == again.url)


def test_an_edge_that_hangs_costs_one_photo_and_then_rests(edge, start, photo):
    first = start("first")
    with Client([first.url, edge.url], retries=0) as client:
        assert client.detect(photo).edge == first.url
        first.signal(signal.SIGSTOP)
        with pytest.raises(DeadlineMissed) as caught:
            client.detect(photo, deadline_s=0.5)
        assert caught.value.edge == first.url
        assert client.detect(photo).edge == edge.url
        first.signal(signal.SIGCONT)
        wait_until(lambda: client.detect(photo).edge == first.url)


def test_photos_go_on_while_an_edge_is_stopped_for_maintenance(edge, start, photo):
    first = start("first")
    with Client([first.url, edge.url], retries=0) as client:
        assert client.detect(photo).edge == first.url
        first.signal(signal.SIGTERM)
        wait_until(lambda: client.detect(photo).edge == edge.url)
        first.process.wait()
        assert client.detect(photo).edge == edge.url
