"""A real edge without a cloud, and edges that are started for one test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.processes import Running, free_port, start_edge, stopping


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Lets requests choose their boundary."""
    with stopping(start_edge(tmp_path_factory.mktemp("edge"), "--allow-forced-boundary")) as (running,):
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts an edge that is stopped after the test."""
    with ExitStack() as stack:

        def start_one(name: str, port: int = 0) -> Running:
            running = start_edge(tmp_path, name=name, port=port)
            stack.enter_context(stopping(running))
            return running

        yield start_one


@pytest.fixture
def nobody() -> str:
    """URL of a port where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"
