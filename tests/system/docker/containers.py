"""Docker's commands, as tests give them."""

import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


def docker(*args: str, timeout_s: float = 120) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(["docker", *args], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"docker {' '.join(args)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def compose_project(name: str) -> Callable[..., str]:
    """`docker compose` of a project of its own."""
    return partial(docker, "compose", "--project-name", name)


def left_over(project: str) -> list[str]:
    """Containers, volumes and networks of a project."""
    label = f"label=com.docker.compose.project={project}"
    lists = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    return [name for command in lists for name in docker(*command, "--quiet", "--filter", label).split()]


def poll(true: Callable[[], bool], seconds: float, told: Callable[[], object]) -> None:
    """Wait until it is true; `told` is what the failure says."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, told()
        time.sleep(0.5)
