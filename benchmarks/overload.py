"""An overloaded edge: how much more is answered in time when running inferences may move to a cloud?

The edge is pinned to core 0, the cloud and the load generator to core 1; photos stay on the edge; twice the edge's own
capacity is offered, open loop. First the price of every way to answer a photo is measured, in CPU time of all three
processes; a linear program over these prices gives the most that any mix could answer. Then every policy is loaded in
turn, several rounds, in an order that changes.

    python -m benchmarks.overload [--seconds N] [--rounds N]
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.open_loop import LOST, Result
from benchmarks.optimum import Optimum
from benchmarks.overload_bench import (
    DEADLINE_MS,
    EDGE_CPU,
    LOCAL,
    OTHER_CPU,
    OVERLOAD,
    Bench,
    Price,
    Used,
    best_boundary,
    get,
    linear_program,
    measure_prices,
)
from benchmarks.results import instructions, write_result
from demo.processes import start_cloud, stopping

WARM_UP_S = 3.0
PROMISED = "marginal-cost"
LEAST_OVER_EDGE_ONLY, LEAST_OF_OPTIMUM, MOST_MISSED = 1.5, 0.85, 0.02
console = Console(width=160)


@dataclass(slots=True)
class Trials:
    """All rounds of one policy."""

    goodput_per_s: list[float] = field(default_factory=list)
    """Answers 200 within the deadline, by intended send time."""
    statuses: dict[str, int] = field(default_factory=dict)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    latest_504_ms: float = 0.0
    by_boundary: dict[str, int] = field(default_factory=dict)
    """Of the edge's last window, which reaches back into the warm-up."""
    by_reason: dict[str, int] = field(default_factory=dict)
    cloud_failures: int = 0
    cores: dict[str, list[float]] = field(default_factory=dict)
    """Cores used by the edge, the cloud, the generator and all other processes of the machine."""

    def add(self, result: Result, offload: Mapping[str, Any], used: Used) -> None:
        """One round more."""
        self.goodput_per_s.append(result.good / result.seconds)
        self.p50_ms.append(result.latencies_ms["p50"])
        self.p99_ms.append(result.latencies_ms["p99"])
        self.latest_504_ms = max(self.latest_504_ms, result.latest_504_ms)
        self.cloud_failures += offload["cloud_failures"]
        _add_up(self.statuses, result.statuses)
        _add_up(self.by_boundary, offload["by_boundary"])
        _add_up(self.by_reason, offload["by_reason"])
        for process, used_ms in asdict(used).items():
            self.cores.setdefault(process, []).append(used_ms / 1000.0 / result.elapsed_s)

    @property
    def goodput(self) -> float:
        """Of the median round."""
        return statistics.median(self.goodput_per_s)

    @property
    def missed_share(self) -> float:
        """504s among the accepted."""
        missed = self.statuses.get("504", 0)
        return missed / max(1, missed + self.statuses.get("200", 0))


def run_policies(
    bench: Bench, policies: Sequence[str], offered: float, seconds: float, rounds: int
) -> dict[str, Trials]:
    """Load every policy `rounds` times, in an order that turns."""
    trials = {policy: Trials() for policy in policies}
    for number in range(rounds):
        turn = number % len(policies)
        for policy in [*policies[turn:], *policies[:turn]]:
            with stopping(bench.edge_with_cloud("--placement", policy)) as (edge,):
                result, used = bench.load(edge, offered, seconds, **{"warm-up": WARM_UP_S, "seed": number})
                offload = get(edge, f"/v1/metrics/offload?window_s={int(min(seconds, 50))}")
                trials[policy].add(result, offload, used)
            console.print(
                f"round {number + 1} of {rounds}: {policy:18} {result.good / seconds:6.1f} photos/s in time;"
                f" others used {trials[policy].cores['others'][-1]:.2f} cores"
            )
    return trials


def print_prices(prices: Mapping[str, Price], refusal: Price) -> None:
    table = Table("way", "edge", "cloud", "generator", title="Core milliseconds per photo")
    for way, price in {**prices, "refused": refusal}.items():
        name = f"handed over at {way}" if way.isdigit() else way
        table.add_row(name, f"{price.edge:.2f}", f"{price.cloud:.2f}", f"{price.generator:.2f}")
    console.print(table)


def print_trials(trials: Mapping[str, Trials], best: Optimum) -> None:
    edge_only = trials["edge-only"].goodput
    table = Table(title="Photos a second answered in time, median round; answers of all rounds")
    columns = ("photos/s", "x edge-only", "of optimum", "p50 ms", "p99 ms", "200", "429", "504", "other", "lost")
    table.add_column("policy")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("boundaries")
    for policy, trial in trials.items():
        counts = [trial.statuses.get(status, 0) for status in ("200", "429", "504", str(LOST))]
        other = sum(trial.statuses.values()) - sum(counts)
        boundaries = ", ".join(f"{k}: {n}" for k, n in sorted(trial.by_boundary.items()))
        figures = (f"{trial.goodput:.1f}", f"{trial.goodput / edge_only:.2f}", f"{trial.goodput / best.total:.3f}")
        latencies = (f"{statistics.median(trial.p50_ms):.0f}", f"{statistics.median(trial.p99_ms):.0f}")
        table.add_row(policy, *figures, *latencies, *map(str, (*counts[:3], other, counts[3])), boundaries)
    console.print(table)
    promised = trials[PROMISED]
    console.print(
        f"{PROMISED}: {promised.goodput / edge_only:.2f} x edge-only (wanted ≥ {LEAST_OVER_EDGE_ONLY}),"
        f" {promised.goodput / best.total:.3f} of the optimum (≥ {LEAST_OF_OPTIMUM}),"
        f" {promised.missed_share:.2%} of the accepted missed (≤ {MOST_MISSED:.0%})"
    )


def as_json(
    trials: Mapping[str, Trials], prices: Mapping[str, Price], refusal: Price, offered: float, best: Optimum
) -> dict[str, Any]:
    """Everything measured, and what is promised."""
    edge_only = trials["edge-only"].goodput
    return {
        "offered_per_s": offered,
        "deadline_ms": DEADLINE_MS,
        "prices_core_ms": {way: asdict(price) for way, price in prices.items()},
        "refusal_core_ms": asdict(refusal),
        "optimum_per_s": best.total,
        "optimum_mix_per_s": best.rates,
        "wanted": {
            "over_edge_only": LEAST_OVER_EDGE_ONLY,
            "of_optimum": LEAST_OF_OPTIMUM,
            "missed_of_accepted": MOST_MISSED,
        },
        "policies": {
            policy: {
                "median_goodput_per_s": trial.goodput,
                "over_edge_only": trial.goodput / edge_only,
                "of_optimum": trial.goodput / best.total,
                "missed_of_accepted": trial.missed_share,
                **asdict(trial),
            }
            for policy, trial in trials.items()
        },
    }


def _add_up(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load that count, per policy and round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not {EDGE_CPU, OTHER_CPU} <= os.sched_getaffinity(0):
        parser.error(f"cores {EDGE_CPU} and {OTHER_CPU} are needed")
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        with stopping(start_cloud(logs, cpus=[OTHER_CPU])) as (cloud,):
            bench = Bench(cloud, logs)
            prices, refusal = measure_prices(bench, max(4.0, arguments.seconds / 2))
            offered = OVERLOAD * 1000.0 / prices[LOCAL].edge
            best = linear_program(prices, refusal, offered)
            print_prices(prices, refusal)
            mix = ", ".join(f"{way}: {rate:.1f}" for way, rate in best.rates.items() if rate > 0.05)
            console.print(f"offered {offered:.1f} photos/s; optimum {best.total:.1f} photos/s ({mix})")
            fixed = f"fixed-boundary={best_boundary(prices, refusal, offered)}"
            policies = (PROMISED, "edge-only", "greedy", "neurosurgeon", fixed)
            trials = run_policies(bench, policies, offered, arguments.seconds, arguments.rounds)
    print_trials(trials, best)
    write_result(f"overload.{instructions()}", as_json(trials, prices, refusal, offered, best))


if __name__ == "__main__":
    main()
