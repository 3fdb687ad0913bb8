"""A node that may hand over and finds it better does so by itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from demo.processes import Running, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, detect, wait_for, wait_for_link
from tests.integration.edge.fused_model import FusedModel

_AT_ONCE = 12


@pytest.fixture(scope="module")
def edge(log_folder: Path) -> Iterator[Running]:
    with (
        stopping(start_cloud(log_folder)) as (cloud,),
        stopping(start_edge(log_folder, "--cloud", cloud.address)) as (edge,),
    ):
        yield edge
        assert not complaints(edge)


def test_photos_that_come_at_once_are_shared_with_the_cloud(edge: Running, photo: bytes, fused: FusedModel) -> None:
    with client_of(edge) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        wait_for_link(client)

        def ask(_: int) -> dict[str, Any]:
            answer: dict[str, Any] = detect(client, photo).json()
            assert answer["detections"] == fused.detect(photo)
            return answer["route"]

        def decided() -> set[tuple[str, str]]:
            routes = {(route["placement"], route["reason"]) for route in pool.map(ask, range(_AT_ONCE))}
            return routes & {("split", "cheaper")}

        assert wait_for(decided, "photos that were split because that was better")
