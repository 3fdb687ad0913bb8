"""The demo's tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.boundaries import BoundarySummary, Trial

PLAIN_WIDTH = 110
OFFLOAD_COUNTS = ("requests", "offloaded", "ratio", "bytes_sent", "cloud_failures", "local_tails")
STREAM_NOTES = {
    "429": "429: refused at once, with the time to try again, because it would not have been answered by its deadline.",
    "504": "504: accepted, but other work took longer than foreseen; told so at its deadline, not lost.",
}
OFFLOAD_NOTES = {
    "cloud_failures": "cloud_failures: handovers that the cloud refused or did not end by the deadline, as happens "
    "under overload; the edge finished what it still could.",
}
WORDS = frozenset({"photo", "objects", "placement", ""})
"""Columns that are set from the left."""


def make_console() -> Console:
    """Colors in a terminal; plain text of a fixed width elsewhere."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH, no_color=True)


def trials_table(trials: Sequence[Trial], boundaries: range) -> Table:
    """A row per photo: what is in it, and whether each boundary says so."""
    table = _table("What is in the photos, and which boundaries (0…N) agree", "photo", "objects", *map(str, boundaries))
    for trial in trials:
        marks = ("[green]=[/]" if not trial.verdict(k) else "[red]≠[/]" for k in boundaries)
        table.add_row(trial.photo.name, trial.objects, *marks)
    return table


def boundaries_table(rows: Sequence[BoundarySummary]) -> Table:
    """A row per boundary: medians."""
    columns = ("boundary", "placement", "kB sent", "edge ms", "transfer ms", "cloud ms", "total ms")
    table = _table("The boundaries (medians over the photos)", *columns)
    for row in rows:
        milliseconds = (row.edge_ms, row.transfer_ms, row.cloud_ms, row.total_ms)
        table.add_row(str(row.k), row.placement, f"{row.bytes_sent / 1000:.1f}", *map(_number, milliseconds))
    return table


def latency_table(latency: dict[str, Any]) -> Table:
    """`/v1/metrics/latency` as it stands, a column per placement."""
    placements = latency["placements"]
    table = _table(f"GET /v1/metrics/latency (last {latency['covered_s']:.0f} s)", "", *placements)
    table.add_row("count", *(str(row["count"]) for row in placements.values()))
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        table.add_row(name, *(_number(row[name]) for row in placements.values()))
    table.add_section()
    for stage in placements["all"]["stages_ms"]:
        table.add_row(f"{stage} (mean ms)", *(_number(row["stages_ms"][stage]) for row in placements.values()))
    return table


def offload_table(offload: dict[str, Any]) -> Table:
    """`/v1/metrics/offload` as it stands."""
    table = _table(f"GET /v1/metrics/offload (last {offload['covered_s']:.0f} s)", "", "")
    for name in OFFLOAD_COUNTS:
        table.add_row(name, f"{offload[name]:.3f}" if name == "ratio" else str(offload[name]))
    for name in ("by_boundary", "by_reason"):
        table.add_row(name, ", ".join(f"{key}: {count}" for key, count in offload[name].items()))
    for cloud in offload["clouds"]:
        link = f"rtt {_number(cloud['rtt_ms'])} ms, {_number(cloud['bandwidth_mbit_s'])} Mbit/s"
        table.add_row(f"cloud {cloud['address']}", f"{link}, breaker {cloud['breaker']}")
    return table


def notes(counts: Mapping[str, Any], meanings: Mapping[str, str]) -> list[str]:
    """What those of `counts` mean that are not zero."""
    return [meaning for name, meaning in meanings.items() if counts.get(name)]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="left" if column in WORDS else "right")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
