"""An overloaded edge: how much more is answered in time when running inferences may move to a cloud?

The edge is pinned to core 0, the cloud and the load generator to core 1; photos stay on the edge; twice the edge's own
capacity is offered, open loop. First the price of every way to answer a photo is measured, in CPU time of all three
processes while the busier core has little time left (idle processes sleep and wake for every photo, which costs more);
a linear program over these prices gives the most that any mix could answer. Then every policy is loaded in turn,
several rounds, in an order that changes.

    python -m benchmarks.overload [--seconds N] [--rounds N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.open_loop import LOST, Result
from benchmarks.optimum import Optimum, best_mix
from benchmarks.processor_time import cpu_ms
from benchmarks.results import write_result
from demo.processes import ROOT, Running, start_cloud, start_edge, stopping

EDGE_CPU, OTHER_CPU = 0, 1
DEADLINE_MS = 1000.0
OVERLOAD = 2.0
WARM_UP_S = 3.0
PHOTOS = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
LOCAL = "edge"
_BUSY = 0.85
"""Share of the busier core that prices are measured at: above, photos are refused now and then."""


class PriceUnclear(RuntimeError):
    """Not all photos took the way whose price was asked for."""


@dataclass(frozen=True, slots=True)
class Price:
    """Core milliseconds that one photo takes of the edge, the cloud and the generator."""

    edge: float
    cloud: float
    generator: float

    def by_core(self) -> dict[str, float]:
        """For the linear program, in core seconds."""
        return {"core 0": self.edge / 1000.0, "core 1": (self.cloud + self.generator) / 1000.0}


@dataclass(slots=True)
class Trials:
    """All rounds of one policy."""

    goodput: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    latest_504_ms: float = 0.0
    by_boundary: dict[str, int] = field(default_factory=dict)
    by_reason: dict[str, int] = field(default_factory=dict)
    cloud_failures: int = 0
    busy: dict[str, list[float]] = field(default_factory=lambda: {"edge": [], "cloud": [], "generator": []})
    """Cores used by each process."""

    def add(self, result: Result, offload: Mapping[str, Any], busy: Mapping[str, float]) -> None:
        """One round more."""
        self.goodput.append(result.good / result.seconds)
        _add_up(self.statuses, result.statuses)
        self.p50_ms.append(result.latencies_ms["p50"])
        self.p99_ms.append(result.latencies_ms["p99"])
        self.latest_504_ms = max(self.latest_504_ms, result.latest_504_ms)
        _add_up(self.by_boundary, offload["by_boundary"])
        _add_up(self.by_reason, offload["by_reason"])
        self.cloud_failures += offload["cloud_failures"]
        for process, cores in busy.items():
            self.busy[process].append(cores)


def _add_up(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


@dataclass(frozen=True, slots=True)
class Bench:
    """The running cloud and where logs go."""

    cloud: Running
    logs: Path

    def edge(self, *options: str) -> Running:
        """An edge on its core; without ``--cloud`` among the options it knows none."""
        return start_edge(self.logs, *options, cpus=[EDGE_CPU])

    def load(self, edge: Running, rate: float, seconds: float, **more: Any) -> tuple[Result, dict[str, float]]:
        """Load the edge; what came of it, and the CPU milliseconds of edge, cloud and generator meanwhile."""
        query = more.pop("query", "")
        options = {"rate": rate, "seconds": seconds, "deadline-ms": DEADLINE_MS, **more}
        command = ["taskset", "-c", str(OTHER_CPU), sys.executable, "-m", "benchmarks.open_loop"]
        command += [f"{edge.url}/v1/detect{query}", *map(str, PHOTOS)]
        command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
        before = {"edge": cpu_ms(edge.pid), "cloud": cpu_ms(self.cloud.pid)}
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        result = Result(**json.loads(process.stdout))
        used = {"edge": cpu_ms(edge.pid) - before["edge"], "cloud": cpu_ms(self.cloud.pid) - before["cloud"]}
        return result, {**used, "generator": result.cpu_ms}


def measure_prices(bench: Bench, seconds: float) -> tuple[dict[str, Price], Price]:
    """Prices of every way to answer a photo, and of a refusal."""
    prices: dict[str, Price] = {}
    with stopping(bench.edge()) as (alone,):
        prices[LOCAL] = _price(bench, alone, seconds)
        rate = OVERLOAD * 1000.0 / prices[LOCAL].edge
        refusal = _price_at(bench, alone, rate, seconds / 2, expected="429", **{"deadline-ms": 1.0})
    with stopping(bench.edge("--cloud", bench.cloud.address, "--allow-forced-boundary")) as (edge,):
        _await_cloud(edge)
        for boundary in _boundaries(edge):
            prices[str(boundary)] = _price(bench, edge, seconds, query=f"?boundary={boundary}")
    return prices, refusal


def _price(bench: Bench, edge: Running, seconds: float, **more: Any) -> Price:
    """The price while the busier core is nearly full: approached in steps, and from below where others use it too."""
    price, share = _price_at(bench, edge, 10.0, 2.0, expected="200", **more), _BUSY
    for step_s in (3.0, seconds):
        while True:
            rate = share / max(price.by_core().values())
            try:
                price = _price_at(bench, edge, rate, step_s, expected="200", **more)
                break
            except PriceUnclear:
                share *= 0.8
                if share < _BUSY / 4:
                    raise
    return price


def _price_at(bench: Bench, edge: Running, rate: float, seconds: float, *, expected: str, **more: Any) -> Price:
    result, used = bench.load(edge, rate, seconds, **more)
    if result.statuses.get(expected, 0) < 0.99 * result.sent:
        raise PriceUnclear(f"at {rate:.0f} photos/s {more}: answers {result.statuses}")
    return Price(**{process: used_ms / result.cpu_photos for process, used_ms in used.items()})


def _await_cloud(edge: Running) -> None:
    """Until the edge has measured its cloud."""
    give_up_s = time.monotonic() + 15.0
    while time.monotonic() < give_up_s:
        if all(cloud["bandwidth_mbit_s"] for cloud in _get(edge, "/v1/metrics/offload")["clouds"]):
            return
        time.sleep(0.1)
    raise RuntimeError("the edge did not reach its cloud")


def _boundaries(edge: Running) -> list[int]:
    model = next(m for m in _get(edge, "/v1/models")["models"] if m["task"] == "detect")
    return [boundary["k"] for boundary in model["boundaries"] if 0 < boundary["k"] < len(model["boundaries"])]


def _get(edge: Running, path: str) -> Any:
    with urllib.request.urlopen(f"{edge.url}{path}", timeout=10) as response:
        return json.load(response)


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


def run_policies(
    bench: Bench, policies: Sequence[str], offered: float, seconds: float, rounds: int
) -> dict[str, Trials]:
    """Load every policy `rounds` times, in an order that turns."""
    trials = {policy: Trials() for policy in policies}
    for number in range(rounds):
        turn = number % len(policies)
        for policy in [*policies[turn:], *policies[:turn]]:
            options = ("--cloud", bench.cloud.address, "--placement", policy)
            with stopping(bench.edge(*options)) as (edge,):
                _await_cloud(edge)
                result, used = bench.load(edge, offered, seconds, **{"warm-up": WARM_UP_S, "seed": number})
                window_s = int(min(seconds, 50))
                busy = {process: ms / 1000.0 / (WARM_UP_S + seconds) for process, ms in used.items()}
                trials[policy].add(result, _get(edge, f"/v1/metrics/offload?window_s={window_s}"), busy)
            print(f"  round {number + 1}: {policy:18} {result.good / seconds:6.1f} photos/s in time", flush=True)
    return trials


def print_table(trials: Mapping[str, Trials], best: Optimum) -> None:
    edge_only = statistics.median(trials["edge-only"].goodput)
    print(f"\n{'policy':18} {'good/s':>7} {'x edge-only':>11} {'of optimum':>10} {'p50 ms':>7} {'p99 ms':>7}", end="")
    print(f" {'200':>6} {'429':>6} {'504':>5} {'other':>5} {'lost':>4}  boundaries")
    for policy, trial in trials.items():
        good = statistics.median(trial.goodput)
        counts = [trial.statuses.get(status, 0) for status in ("200", "429", "504", str(LOST))]
        ok, refused, missed, lost = counts
        other = sum(trial.statuses.values()) - sum(counts)
        boundaries = ", ".join(f"{k}: {n}" for k, n in sorted(trial.by_boundary.items()))
        print(
            f"{policy:18} {good:7.1f} {good / edge_only:11.2f} {good / best.total:10.3f}"
            f" {statistics.median(trial.p50_ms):7.0f} {statistics.median(trial.p99_ms):7.0f}"
            f" {ok:6} {refused:6} {missed:5} {other:5} {lost:4}  {boundaries}"
        )


def as_json(
    trials: Mapping[str, Trials], prices: Mapping[str, Price], refusal: Price, offered: float, best: Optimum
) -> dict[str, Any]:
    """Everything measured, and the two ratios that are promised."""
    edge_only = statistics.median(trials["edge-only"].goodput)
    return {
        "offered_per_s": offered,
        "deadline_ms": DEADLINE_MS,
        "prices_core_ms": {way: asdict(price) for way, price in prices.items()},
        "refusal_core_ms": asdict(refusal),
        "optimum_per_s": best.total,
        "optimum_mix_per_s": best.rates,
        "policies": {
            policy: {
                "goodput_per_s": statistics.median(trial.goodput),
                "over_edge_only": statistics.median(trial.goodput) / edge_only,
                "of_optimum": statistics.median(trial.goodput) / best.total,
                "missed_of_accepted": _missed_share(trial),
                **asdict(trial),
            }
            for policy, trial in trials.items()
        },
    }


def _missed_share(trial: Trials) -> float:
    missed = trial.statuses.get("504", 0)
    return missed / max(1, missed + trial.statuses.get("200", 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load that count, per policy and round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed")
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        with stopping(start_cloud(logs, cpus=[OTHER_CPU])) as (cloud,):
            bench = Bench(cloud, logs)
            prices, refusal = measure_prices(bench, max(4.0, arguments.seconds / 2))
            offered = OVERLOAD * 1000.0 / prices[LOCAL].edge
            best = linear_program(prices, refusal, offered)
            print("core ms per photo      edge  cloud  generator")
            for way, price in {**prices, "429": refusal}.items():
                print(f"  {way:18} {price.edge:6.2f} {price.cloud:6.2f} {price.generator:6.2f}")
            mix = ", ".join(f"{way}: {rate:.1f}" for way, rate in best.rates.items() if rate > 0.05)
            print(f"offered {offered:.1f}/s; optimum {best.total:.1f}/s ({mix})", flush=True)
            fixed = f"fixed-boundary={best_boundary(prices, refusal, offered)}"
            policies = ("marginal-cost", "edge-only", "greedy", "neurosurgeon", fixed)
            trials = run_policies(bench, policies, offered, arguments.seconds, arguments.rounds)
    print_table(trials, best)
    write_result("overload", as_json(trials, prices, refusal, offered, best))


if __name__ == "__main__":
    main()
