"""``python -m demo.cluster up|down`` (``make up``, ``make down``): Redis, a cloud and two edges that run on.

What was started stands in ``.run/cluster.json``, each process with its start time, so that `down` never ends a process
that merely got the same id.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from demo.processes import ROOT, STOP_S, Running, StartFailed, start_cloud, start_edge, start_redis

STATE_FILE = "cluster.json"
# Where they are free; else any free port.
CLOUD_PORT = 9000
EDGE_PORTS = {"edge-1": 8081, "edge-2": 8082}
NAMES = ("redis", "cloud", *EDGE_PORTS)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A cluster of processes on this machine.")
Folder = Annotated[Path, typer.Option(help="Where state and logs lie.")]


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the cluster."""

    name: str
    pid: int
    started: int | None
    """Start time in the kernel's ticks since boot; None if it had ended by then."""
    address: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.started is not None and _start_ticks(self.pid) == self.started


@app.command()
def up(folder: Folder = ROOT / ".run") -> None:
    """Start the cluster and print its addresses; leave a running one as it is."""
    members = _members(folder)
    if len(members) == len(NAMES) and all(member.alive for member in members):
        typer.echo("The cluster is running already.")
    else:
        _stop(members)
        try:
            members = _start(folder)
        except StartFailed as error:
            typer.echo(f"The cluster did not start: {error}", err=True)
            raise typer.Exit(1) from error
    typer.echo(_addresses(members, folder))


@app.command()
def down(folder: Folder = ROOT / ".run") -> None:
    """Stop what `up` started."""
    stopped = _stop(_members(folder))
    (folder / STATE_FILE).unlink(missing_ok=True)
    typer.echo(f"Stopped {', '.join(stopped)}." if stopped else "No cluster is running.")


def _start(folder: Path) -> list[Member]:
    """Start all, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    members: list[Member] = []

    def keep(running: Running) -> str:
        # Written at once: if this process is killed, `down` must know what was started.
        members.append(Member(running.name, running.pid, _start_ticks(running.pid), running.address))
        _write(members, folder)
        return running.address

    try:
        redis = keep(start_redis(folder, detached=True))
        cloud = keep(start_cloud(folder, port=_port(CLOUD_PORT), detached=True))
        for name, port in EDGE_PORTS.items():
            options = ("--cloud", cloud, "--redis", f"redis://{redis}/0", "--node-id", name)
            keep(start_edge(folder, *options, name=name, port=_port(port), detached=True))
    except BaseException:
        _stop(members)
        (folder / STATE_FILE).unlink(missing_ok=True)
        raise
    return members


def _stop(members: Sequence[Member]) -> list[str]:
    """End those that still run, the last started first; their names."""
    stopped = []
    for member in reversed(members):
        if not member.alive:
            continue
        os.kill(member.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while member.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        if member.alive:
            os.kill(member.pid, signal.SIGKILL)
        stopped.append(member.name)
    return stopped


def _write(members: Sequence[Member], folder: Path) -> None:
    """Whole or not at all: a file that was cut off would hide what runs."""
    draft = folder / f"{STATE_FILE}.new"
    draft.write_text(json.dumps([asdict(member) for member in members], indent=2) + "\n")
    draft.replace(folder / STATE_FILE)


def _members(folder: Path) -> list[Member]:
    file = folder / STATE_FILE
    return [Member(**entry) for entry in json.loads(file.read_text())] if file.exists() else []


def _addresses(members: Sequence[Member], folder: Path) -> str:
    by_name = {member.name: member.address for member in members}
    edge = f"http://{by_name['edge-1']}"
    width = max(len(name) for name in by_name)
    lines = [f"  {name:<{width}}  {'http://' if name in EDGE_PORTS else ''}{by_name[name]}" for name in by_name]
    return "\n".join(
        [
            *lines,
            f"  logs in {folder}",
            "",
            "Try:",
            f"  curl --data-binary @samples/photos/000000000785.jpg -H 'Content-Type: image/jpeg' {edge}/v1/detect",
            f"  curl {edge}/v1/cluster",
            f"  curl '{edge}/v1/metrics/offload?scope=cluster'",
            f"  .venv/bin/edgedet-iot stream samples/photos --rate 80 --seconds 20 --edge {edge}",
            "",
            "Stop it: make down",
        ]
    )


def _port(wanted: int) -> int:
    """The wanted port if nobody has it, else 0: any free one."""
    try:
        with socket.create_server(("127.0.0.1", wanted)):
            return wanted
    except OSError:
        return 0


def _start_ticks(pid: int) -> int | None:
    """Start time of a process (proc(5), field 22 of stat); None if it does not run or only waits to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])


if __name__ == "__main__":
    app()
