"""What the overload benchmark measures with: pinned processes, and the price of every way to answer a photo."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from benchmarks.open_loop import Result
from benchmarks.optimum import Optimum, best_mix
from benchmarks.processor_time import cpu_ms
from demo.processes import ROOT, Running, start_edge, stopping

EDGE_CPU, OTHER_CPU = 0, 1
DEADLINE_MS = 1000.0
OVERLOAD = 2.0
"""Photos offered, over what the edge could answer alone."""
LOCAL = "edge"
"""The way without a handover; the others are called by their boundary."""
_PHOTOS = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
_CLOUD_KNOWN_S = 15.0
_HERE = build_opener(ProxyHandler({}))
"""Asks this machine, whatever proxy the environment names for others."""


@dataclass(frozen=True, slots=True)
class Price:
    """Core milliseconds that one photo takes of the edge, the cloud and the generator."""

    edge: float
    cloud: float
    generator: float

    def by_core(self) -> dict[str, float]:
        """For the linear program, in core seconds."""
        return {"core 0": self.edge / 1000.0, "core 1": (self.cloud + self.generator) / 1000.0}


@dataclass(frozen=True, slots=True)
class Used:
    """Core milliseconds during a load."""

    edge: float
    cloud: float
    generator: float
    """While it sent: its start is not counted."""
    others: float
    """All other processes of the machine: what they take, the edge and the cloud could not have."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The running cloud and where logs go."""

    cloud: Running
    logs: Path

    def edge(self, *options: str) -> Running:
        """An edge on its core; without ``--cloud`` among the options it knows none."""
        return start_edge(self.logs, *options, cpus=[EDGE_CPU])

    def edge_with_cloud(self, *options: str) -> Running:
        """An edge that has measured its cloud."""
        edge = self.edge("--cloud", self.cloud.address, *options)
        try:
            _wait_until_cloud_known(edge)
        except BaseException:
            edge.stop()
            raise
        return edge

    def load(self, edge: Running, rate: float, seconds: float, **more: Any) -> tuple[Result, Used]:
        """Load the edge from a process on the other core.

        Args:
            edge: which one.
            rate: photos a second.
            seconds: of load that count.
            more: `query` of the request; other options of the generator.
        """
        query = more.pop("query", "")
        options = {"rate": rate, "seconds": seconds, "deadline-ms": DEADLINE_MS, **more}
        command = ["taskset", "-c", str(OTHER_CPU), sys.executable, "-m", "benchmarks.open_loop"]
        command += [f"{edge.url}/v1/detect{query}", *map(str, _PHOTOS)]
        command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
        before = (cpu_ms(edge.pid), cpu_ms(self.cloud.pid), _children_ms(), _machine_ms())
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        after = (cpu_ms(edge.pid), cpu_ms(self.cloud.pid), _children_ms(), _machine_ms())
        at_edge, in_cloud, generating, all_together = (b - a for a, b in zip(before, after, strict=True))
        result = Result(**json.loads(process.stdout))
        others = max(0.0, all_together - at_edge - in_cloud - generating)
        return result, Used(at_edge, in_cloud, result.cpu_ms, others)


def get(edge: Running, path: str) -> Any:
    """A JSON document of the edge."""
    with _HERE.open(f"{edge.url}{path}", timeout=10) as response:
        return json.load(response)


def _wait_until_cloud_known(edge: Running) -> None:
    give_up_s = time.monotonic() + _CLOUD_KNOWN_S
    while not all(cloud["bandwidth_mbit_s"] for cloud in get(edge, "/v1/metrics/offload")["clouds"]):
        if time.monotonic() > give_up_s:
            raise RuntimeError("the edge did not reach its cloud")
        time.sleep(0.1)


def measure_prices(bench: Bench, seconds: float) -> tuple[dict[str, Price], Price]:
    """Prices of every way to answer a photo, and of a refusal, all under overload.

    Idle processes sleep and wake for every photo, which costs more: prices at low load would make the optimum too low.
    """
    prices: dict[str, Price] = {}
    with stopping(bench.edge()) as (alone,):
        result, used = bench.load(alone, 10.0, 3.0)
        rate = OVERLOAD * 1000.0 / (used.edge / result.cpu_photos)
        refusal = _refusal(bench, alone, rate, seconds)
        prices[LOCAL] = _price(bench, alone, rate, seconds, refusal)
    with stopping(bench.edge_with_cloud("--allow-forced-boundary")) as (edge,):
        for boundary in _boundaries(edge):
            prices[str(boundary)] = _price(bench, edge, rate, seconds, refusal, query=f"?boundary={boundary}")
    return prices, refusal


def linear_program(prices: Mapping[str, Price], refusal: Price, offered: float) -> Optimum:
    """The most photos a second that two cores can answer of `offered`."""
    costs = {way: price.by_core() for way, price in prices.items()}
    return best_mix(costs, {"core 0": 1.0, "core 1": 1.0}, offered=offered, refusal=refusal.by_core())


def best_boundary(prices: Mapping[str, Price], refusal: Price, offered: float) -> int:
    """Where to leave if all photos have to leave at the same boundary."""
    totals = {
        way: linear_program({way: price}, refusal, offered).total for way, price in prices.items() if way != LOCAL
    }
    return int(max(totals, key=lambda way: totals[way]))


def _refusal(bench: Bench, edge: Running, rate: float, seconds: float) -> Price:
    """A deadline that nothing can meet has every photo refused."""
    result, used = bench.load(edge, rate, seconds, **{"deadline-ms": 1.0})
    if set(result.statuses) != {"429"}:
        raise RuntimeError(f"a deadline of 1 ms was answered {result.statuses}")
    return Price(used.edge / result.sent, used.cloud / result.sent, used.generator / result.sent)


def _price(bench: Bench, edge: Running, rate: float, seconds: float, refusal: Price, **more: Any) -> Price:
    """What an accepted photo takes, also one that is answered too late."""
    result, used = bench.load(edge, rate, seconds, **more)
    refused = result.statuses.get("429", 0)
    accepted = result.sent - refused
    return Price(
        (used.edge - refused * refusal.edge) / accepted,
        (used.cloud - refused * refusal.cloud) / accepted,
        (used.generator - refused * refusal.generator) / accepted,
    )


def _boundaries(edge: Running) -> list[int]:
    model = next(model for model in get(edge, "/v1/models")["models"] if model["task"] == "detect")
    last = max(boundary["k"] for boundary in model["boundaries"])
    return [boundary["k"] for boundary in model["boundaries"] if 0 < boundary["k"] < last]


def _children_ms() -> float:
    """CPU time of processes that we started and that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (children.ru_utime + children.ru_stime) * 1000.0


def _machine_ms() -> float:
    """CPU time of everything: user, nice, system, irq and softirq of the first line of /proc/stat."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    busy = sum(int(fields[index]) for index in (0, 1, 2, 5, 6))
    return busy * 1000.0 / os.sysconf("SC_CLK_TCK")
