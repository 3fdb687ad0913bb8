"""How tests ask an edge, and wait for what it will do."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from edgedet_edge import schemas

from demo.processes import Running

PATIENT = {"X-Deadline-Ms": "20000"}
"""Where a test is not about time: other processes may have the machine for a while."""
Seen = TypeVar("Seen")


def client_of(edge: Running) -> httpx.Client:
    """A client that asks this edge, whatever proxies the environment names."""
    return httpx.Client(base_url=edge.url, timeout=60, trust_env=False, headers=PATIENT)


def detect(client: httpx.Client, photo: bytes, **query: object) -> httpx.Response:
    """Post a photo as it is."""
    return client.post("/v1/detect", content=photo, params=query, headers={"Content-Type": "image/jpeg"})


def is_problem(response: httpx.Response, *statuses: int) -> schemas.Problem:
    """The problem document of a refusal with one of these statuses."""
    assert response.status_code in statuses, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = schemas.Problem.model_validate_json(response.content)
    assert problem.status == response.status_code
    assert problem.type.startswith("urn:edgedet:problem:")
    assert problem.title
    assert problem.detail
    assert problem.request_id == response.headers["X-Request-Id"]
    return problem


def wait_for(look: Callable[[], Seen], what: str, within_s: float = 20.0) -> Seen:
    """Look until there is something to see; fails after a while."""
    deadline_s = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
    return seen


def rss_mb(running: Running) -> float:
    """Memory that a process holds."""
    status = Path(f"/proc/{running.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def link_to_cloud(client: httpx.Client) -> dict[str, object]:
    """What the edge knows of its only cloud."""
    (cloud,) = client.get("/v1/metrics/offload").json()["clouds"]
    return cloud


def wait_for_link(client: httpx.Client) -> None:
    """Until photos may be handed over: the cloud was reached, measured and found to have the same package."""
    wait_for(
        lambda: (link := link_to_cloud(client))["breaker"] == "closed" and link["bandwidth_mbit_s"],
        "a cloud that may be used",
    )


def peak_mb(running: Running) -> float:
    """The most memory that a process held since `forget_peak`."""
    status = Path(f"/proc/{running.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_peak(running: Running) -> None:
    """Count the most memory anew from now on."""
    Path(f"/proc/{running.pid}/clear_refs").write_text("5")


def open_files(running: Running) -> int:
    """Its file descriptors, connections among them."""
    return sum(1 for _ in Path(f"/proc/{running.pid}/fd").iterdir())


@contextmanager
def suspended(running: Running) -> Iterator[None]:
    """What is sent to it meanwhile arrives in one piece."""
    running.signal(signal.SIGSTOP)
    state = Path(f"/proc/{running.pid}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "a process that stands still")
    try:
        yield
    finally:
        running.signal(signal.SIGCONT)


def complaints(running: Running) -> list[str]:
    """Lines of its log that tell of a fault inside."""
    return [line for line in running.log.read_text().splitlines() if "Traceback" in line or '"level": "error"' in line]
