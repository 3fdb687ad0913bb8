"""The demo's tables."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from demo.boundaries import BoundarySummary, Trial

PLAIN_WIDTH = 110
OFFLOAD_COUNTS = ("requests", "offloaded", "ratio", "bytes_sent", "cloud_failures", "local_tails")


def make_console() -> Console:
    """Colors and lines in a terminal; plain text of a fixed width elsewhere."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH, no_color=True)


def trials_table(console: Console, trials: Sequence[Trial], boundaries: range) -> Table:
    """A row per photo: what is in it, and whether each boundary says so."""
    table = _table(console, "What is in the photos, and which boundaries (0…N) agree", "photo", "objects")
    for k in boundaries:
        table.add_column(str(k), justify="center")
    for trial in trials:
        marks = ("[green]=[/]" if not trial.verdict(k) else "[red]≠[/]" for k in boundaries)
        table.add_row(trial.photo.name, trial.objects, *marks)
    return table


def boundaries_table(console: Console, rows: Sequence[BoundarySummary]) -> Table:
    """A row per boundary: medians."""
    columns = ("boundary", "placement", "kB sent", "edge ms", "transfer ms", "cloud ms", "total ms")
    table = _table(console, "The boundaries (medians over the photos)", *columns)
    for row in rows:
        milliseconds = (row.edge_ms, row.transfer_ms, row.cloud_ms, row.total_ms)
        table.add_row(str(row.k), row.placement, f"{row.bytes_sent / 1000:.1f}", *(f"{ms:.1f}" for ms in milliseconds))
    return table


def latency_table(console: Console, latency: dict[str, Any]) -> Table:
    """`/v1/metrics/latency` as it stands."""
    title = f"GET /v1/metrics/latency (last {latency['window_s']} s)"
    placements = latency["placements"]
    stages = list(placements["all"]["stages_ms"])
    table = _table(console, title, "placement", "count", "p50 ms", "p95 ms", "p99 ms", *stages)
    for name, row in placements.items():
        quantiles = (_number(row[key]) for key in ("p50_ms", "p95_ms", "p99_ms"))
        table.add_row(name, str(row["count"]), *quantiles, *(_number(row["stages_ms"][stage]) for stage in stages))
    return table


def offload_table(console: Console, offload: dict[str, Any]) -> Table:
    """`/v1/metrics/offload` as it stands."""
    table = _table(console, f"GET /v1/metrics/offload (last {offload['window_s']} s)", "", "")
    for name in OFFLOAD_COUNTS:
        table.add_row(name, f"{offload[name]:.3f}" if name == "ratio" else str(offload[name]))
    for name in ("by_boundary", "by_reason"):
        table.add_row(name, ", ".join(f"{key}: {count}" for key, count in offload[name].items()))
    for cloud in offload["clouds"]:
        link = f"rtt {_number(cloud['rtt_ms'])} ms, {_number(cloud['bandwidth_mbit_s'])} Mbit/s"
        table.add_row(f"cloud {cloud['address']}", f"{link}, breaker {cloud['breaker']}")
    return table


def _table(console: Console, title: str, *columns: str) -> Table:
    words = {"photo", "objects", "placement", ""}
    look = box.ROUNDED if console.is_terminal else box.ASCII
    table = Table(title=title, title_justify="left", box=look, show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
