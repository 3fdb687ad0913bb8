"""What the edge's HTTP path costs beside the bare pipeline, how health answers under load, and what overload leaves.

The edge and the bare pipeline have core 0, clients core 1; the two alternate, and the ratios are those of pairs.

    python -m benchmarks.http_overhead [--seconds 6] [--rounds 5]
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processor_time import cpu_ms
from benchmarks.results import instructions, write_result
from demo.processes import ROOT, Running, start_edge, stopping

_PACKAGE = ROOT / "models" / "yolov3-tiny-coco" / "1"
_PHOTOS = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
_EDGE_CORE, _CLIENT_CORE = 0, 1
_PING_S = 0.01
_OVERLOAD = 3.0


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over everything."""

    bare_cpu_ms: float
    """Per photo."""
    edge_cpu_ms: float
    """Per photo, concurrency 1."""
    bare_rate: float
    """Photos a second of the bare pipeline on its core."""
    idle_p99_ms: float
    """Of the health endpoint."""
    busy_p99_ms: float
    overload_rate: float
    """Photos a second answered within a second at three times the bare rate."""
    overload_statuses: dict[str, int]

    @property
    def cpu_ratio(self) -> float:
        """Edge over bare pipeline."""
        return self.edge_cpu_ms / self.bare_cpu_ms

    @property
    def health_ratio(self) -> float:
        """Busy over idle."""
        return self.busy_p99_ms / self.idle_p99_ms

    @property
    def overload_ratio(self) -> float:
        """Answered rate over the bare pipeline's."""
        return self.overload_rate / self.bare_rate


def measure(edge: Running, seconds: float) -> Round:
    """One round against a running edge."""
    idle_ms = ping(edge, seconds / 2)
    bare = _bare(seconds)
    edge_cpu_ms = closed_loop(edge, seconds)
    with loading(edge.address):
        busy_ms = ping(edge, seconds / 2)
    bare_rate = bare["photos"] / bare["seconds"]
    overload = _overload(edge, _OVERLOAD * bare_rate, seconds)
    return Round(
        bare_cpu_ms=bare["cpu_ms"] / bare["photos"],
        edge_cpu_ms=edge_cpu_ms,
        bare_rate=bare_rate,
        idle_p99_ms=_p99(idle_ms),
        busy_p99_ms=_p99(busy_ms),
        overload_rate=overload["good"] / overload["seconds"],
        overload_statuses=overload["statuses"],
    )


def closed_loop(edge: Running, seconds: float) -> float:
    """CPU milliseconds of the edge per photo, one photo at a time."""
    connection = http.client.HTTPConnection(edge.address)
    photos = [photo.read_bytes() for photo in _PHOTOS]
    _post(connection, photos[0])
    done, start_s, start_cpu_ms = 0, time.perf_counter(), cpu_ms(edge.pid)
    while time.perf_counter() - start_s < seconds:
        _post(connection, photos[done % len(photos)])
        done += 1
    used_ms = cpu_ms(edge.pid) - start_cpu_ms
    connection.close()
    return used_ms / done


def ping(edge: Running, seconds: float) -> list[float]:
    """Milliseconds of `/health/ready` asked a hundred times a second."""
    connection = http.client.HTTPConnection(edge.address)
    taken_ms, start_s = [], time.perf_counter()
    while time.perf_counter() - start_s < seconds:
        before_s = time.perf_counter()
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        answer.read()
        taken_ms.append((time.perf_counter() - before_s) * 1000)
        time.sleep(_PING_S)
    connection.close()
    return taken_ms


@contextmanager
def loading(address: str) -> Iterator[None]:
    """Two clients, each with a photo always under way: the edge's worker never rests.

    Raises:
        RuntimeError: at the end, if a photo was not answered; what was measured meanwhile was not under load.
    """
    stop, photo = threading.Event(), _PHOTOS[0].read_bytes()

    def send() -> None:
        connection = http.client.HTTPConnection(address)
        while not stop.is_set():
            _post(connection, photo)
        connection.close()

    with ThreadPoolExecutor(2) as clients:
        loads = [clients.submit(send) for _ in range(2)]
        try:
            yield
        finally:
            stop.set()
    for load in loads:
        load.result()


def _post(connection: http.client.HTTPConnection, photo: bytes) -> None:
    connection.request("POST", "/v1/detect", photo, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the edge answered {answer.status}: {body.decode(errors='replace')[:300]}")


def _bare(seconds: float) -> dict[str, Any]:
    return _run(_EDGE_CORE, "bare_pipeline", *map(str, _PHOTOS), "--package", str(_PACKAGE), "--seconds", str(seconds))


def _overload(edge: Running, rate: float, seconds: float) -> dict[str, Any]:
    url = f"{edge.url}/v1/detect"
    options = ("--rate", f"{rate:.1f}", "--seconds", str(seconds), "--warm-up", "1")
    return _run(_CLIENT_CORE, "open_loop", url, *map(str, _PHOTOS), *options)


def _run(core: int, module: str, *arguments: str) -> dict[str, Any]:
    command = ["taskset", "-c", str(core), sys.executable, "-m", f"benchmarks.{module}", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout
    result: dict[str, Any] = json.loads(output)
    return result


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each part of a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not {_EDGE_CORE, _CLIENT_CORE} <= os.sched_getaffinity(0):
        parser.error(f"cores {_EDGE_CORE} and {_CLIENT_CORE} are needed")
    os.sched_setaffinity(0, {_CLIENT_CORE})
    console = Console()
    rounds = []
    with tempfile.TemporaryDirectory() as logs, stopping(start_edge(Path(logs), cpus=[_EDGE_CORE])) as (edge,):
        for number in range(arguments.rounds):
            rounds.append(measure(edge, arguments.seconds))
            console.print(f"round {number + 1} of {arguments.rounds}: {rounds[-1]}")
    table = Table("figure", "median", "least", "most", "wanted", title="HTTP path of the edge, YOLOv3-tiny, no cloud")
    for name, values, wanted in (
        ("CPU per photo, edge over bare pipeline", [r.cpu_ratio for r in rounds], "≤ 1.05"),
        ("health p99, busy over idle", [r.health_ratio for r in rounds], "≤ 3"),
        ("answered within 1 s at 3× load, over the bare rate", [r.overload_ratio for r in rounds], "≥ 0.88"),
    ):
        figures = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{figure:.3f}" for figure in figures), wanted)
    console.print(table)
    write_result(
        f"http_overhead.{instructions()}", {"seconds": arguments.seconds, "rounds": [asdict(r) for r in rounds]}
    )


if __name__ == "__main__":
    main()
