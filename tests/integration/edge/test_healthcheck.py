"""The check that an edge's image is built with."""

import json
import os
import subprocess
import sys

from demo.processes import ROOT, Running, free_port
from tests.integration.edge.asking import client_of


def exit_code(command: list[str], port: str) -> int:
    told = {**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": "", "EDGEDET_EDGE_PORT": port}
    done = subprocess.run([sys.executable, *command[1:]], env=told, capture_output=True, check=False)
    assert not done.returncode or b"Connection refused" in done.stderr
    return done.returncode


def test_load_balancers_may_ask_without_a_body(edge: Running) -> None:
    with client_of(edge) as client:
        for path in ("/health/live", "/health/ready"):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")


def test_a_container_asks_itself_whatever_proxies_its_environment_names(edge: Running) -> None:
    dockerfile = (ROOT / "edge_node" / "Dockerfile").read_text()
    command = json.loads(dockerfile.partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("\n")[0])
    assert exit_code(command, edge.address.rpartition(":")[2]) == 0
    assert exit_code(command, str(free_port())) == 1
