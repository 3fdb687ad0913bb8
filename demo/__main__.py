"""``python -m demo`` (``make demo``): a cloud and an edge on this machine, real photos, every boundary, then overload.

Exit 0 if all boundaries agreed and no photo was lost, 1 if not, 130 after Ctrl-C, 143 after SIGTERM.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from edgedet_iot import IotFault, StreamReport, stream
from edgedet_iot.tables import stream_line, stream_table
from rich.console import Console

from demo.boundaries import (
    CloudNotReached,
    Trial,
    annotate,
    boundaries_of,
    summaries,
    try_boundaries,
    wait_for_cloud,
)
from demo.processes import ROOT, StartFailed, start_cloud, start_edge, stopping
from demo.tables import (
    OFFLOAD_NOTES,
    STREAM_NOTES,
    boundaries_table,
    latency_table,
    make_console,
    notes,
    offload_table,
    trials_table,
)

OVERLOAD = 1.5
"""Rate of the stream, in capacities of the edge alone."""
HIGHEST_RATE = 150.0
"""Photos a second that the generator can send beside an edge and a cloud on a small machine."""
HARMLESS = frozenset({"200", "429", "504", "not sent in time"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What went wrong; nothing if all lists are empty."""

    disagreements: tuple[str, ...]
    losses: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the demo may end with 0."""
        return not self.disagreements and not self.losses


def run(
    output: Annotated[Path, typer.Option(help="Folder for the annotated photos.")] = Path("demo-output"),
    seconds: Annotated[float, typer.Option(help="Length of the stream.", min=1)] = 10.0,
) -> None:
    """Start a cloud and an edge, post the sample photos through every boundary, then stream above the capacity."""
    console = make_console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="edgedet-demo-") as logs:
            verdict = _demo(console, Path(logs), output, seconds)
    except (StartFailed, CloudNotReached, IotFault, httpx.HTTPError, OSError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None
    except SystemExit:
        console.print("Stopped.")
        raise
    for fault in (*verdict.disagreements, *verdict.losses):
        console.print(fault, style="red", markup=False)
    raise typer.Exit(0 if verdict.good else 1)


def _demo(console: Console, logs: Path, output: Path, seconds: float) -> Verdict:
    photos = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
    with console.status("Starting a cloud and an edge…"):
        cloud = start_cloud(logs)
    with stopping(cloud):
        edge = start_edge(logs, "--cloud", cloud.address, "--forward-photos", "--allow-forced-boundary")
        with stopping(edge):
            console.print(f"Cloud at {cloud.address} (gRPC), edge at {edge.url} (HTTP)\n")
            wait_for_cloud(edge.url)
            trials, capacity = _try_boundaries(console, edge.url, photos)
            written = annotate(edge.url, photos, output)
            console.print(f"{len(written)} annotated photos in {output}/\n")
            report = _overload(console, edge.url, photos, capacity, seconds)
            _print_metrics(console, edge.url)
    return _judge(console, trials, report)


def _try_boundaries(console: Console, edge: str, photos: Sequence[Path]) -> tuple[list[Trial], float]:
    """The trials, and the photos a second that the edge alone can answer."""
    boundaries = boundaries_of(edge)
    with console.status("") as status:
        trials = try_boundaries(
            edge, photos, boundaries, lambda photo: status.update(f"{photo.name} through every boundary…")
        )
    rows = summaries(trials, boundaries)
    console.print(trials_table(trials, boundaries))
    console.print(boundaries_table(rows))
    alone = [row.edge_ms for row in rows if row.k == boundaries[-1]]
    return trials, 1000 / alone[0] if alone else HIGHEST_RATE / OVERLOAD


def _overload(console: Console, edge: str, photos: Sequence[Path], capacity: float, seconds: float) -> StreamReport:
    rate = min(OVERLOAD * capacity, HIGHEST_RATE)
    console.print(
        f"The edge alone can answer about {capacity:.0f} photos a second; now {rate:.0f} a second for {seconds:.0f} s."
    )
    with console.status("Streaming…"):
        report = asyncio.run(stream(edge, photos, rate=rate, seconds=seconds, seed=1))
    console.print(stream_line(report))
    console.print(stream_table(report))
    _print_notes(console, notes(report.by_status, STREAM_NOTES))
    return report


def _print_metrics(console: Console, edge: str) -> None:
    for path, table in (("latency", latency_table), ("offload", offload_table)):
        content = httpx.get(f"{edge}/v1/metrics/{path}", trust_env=False).raise_for_status().json()
        console.print(table(content))
        _print_notes(console, notes(content, OFFLOAD_NOTES))


def _print_notes(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, style="dim", markup=False, soft_wrap=True)


def _judge(console: Console, trials: Sequence[Trial], report: StreamReport) -> Verdict:
    disagreements = [
        f"{trial.photo.name}, boundary {k}: {fault}"
        for trial in trials
        for k in trial.answers
        if (fault := trial.verdict(k))
    ]
    losses = [f"{count} photos ended as: {end}" for end, count in report.by_status.items() if end not in HARMLESS]
    asked = sum(len(trial.answers) for trial in trials)
    console.print(
        f"{asked - len(disagreements)} of {asked} answers agree across the boundaries; "
        f"of {report.offered} streamed photos {report.answered} were answered, {report.lost} lost."
    )
    return Verdict(tuple(disagreements), tuple(losses))


if __name__ == "__main__":
    typer.run(run)
