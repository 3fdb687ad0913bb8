"""`make demo` as it runs: real processes, real photos."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.tables import OFFLOAD_NOTES, STREAM_NOTES, notes

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0


def command(*options: object) -> list[str]:
    return [sys.executable, "-m", "demo", *map(str, options)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    output = tmp_path_factory.mktemp("demo") / "output"
    done = subprocess.run(
        command("--seconds", 3, "--output", output), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    return done, output


def test_the_demo_ends_well(finished):
    done, _ = finished
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^(\d+) of \1 answers agree", done.stdout, re.MULTILINE)
    assert "0 lost" in done.stdout


def test_the_demo_shows_detections_latency_and_offloading(finished):
    out = finished[0].stdout
    assert "1 bear" in out
    assert "GET /v1/metrics/latency" in out
    assert "GET /v1/metrics/offload" in out


def test_the_demo_explains_what_did_not_go_well_where_there_was_such(finished):
    out = finished[0].stdout
    for name in ("429", "504", "cloud_failures"):
        there_were = re.search(rf"^│ +{name} +│ +[1-9]", out, re.MULTILINE) is not None
        assert (f"\n{name}: " in out) == there_were, name
    assert notes({"200": 5, "504": 0, "cloud_failures": 0}, STREAM_NOTES | OFFLOAD_NOTES) == []
    assert len(notes({"429": 1, "504": 2, "cloud_failures": 3}, STREAM_NOTES | OFFLOAD_NOTES)) == 3


def test_without_a_terminal_the_output_is_plain(finished):
    assert "\x1b" not in finished[0].stdout


def test_the_demo_writes_annotated_photos(finished, sample_photos):
    written = sorted(finished[1].iterdir())
    assert [path.name for path in written] == [photo.name for photo in sample_photos]
    assert all(path.read_bytes().startswith(b"\xff\xd8\xff") for path in written)


def test_an_output_folder_that_cannot_be_made_is_told_before_anything_is_started(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    options = command("--output", tmp_path / "file" / "below")
    done = subprocess.run(options, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "The demo failed: [Errno 20] Not a directory" in done.stdout
    assert "edge at" not in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stops_what_it_started_when_it_is_interrupted(number, tmp_path):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command("--output", tmp_path), cwd=ROOT, stdout=file, stderr=file, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "edge at" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        # Ended by the signal itself, or by the code that a shell shows for it: CPython picks the former when the
        # interrupt fell into an `exec`, as imports of data classes do.
        assert process.wait(PATIENCE_S) in (128 + number, -number), log.read_text()
        assert "Stopped." in log.read_text()
    finally:
        process.kill()
    words = log.read_text().split()
    ports = [int(word.rstrip(",").rpartition(":")[2]) for word in words if "127.0.0.1:" in word]
    assert len(ports) == 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    assert "Traceback" not in log.read_text()
