"""A log that cannot be written costs lines, not work."""

import json
import os
import subprocess
import sys
from pathlib import Path

from edgedet_runtime.server_log import LogOutput


def test_lines_come_out_while_they_can(tmp_path: Path):
    path = tmp_path / "log"
    with path.open("w") as file:
        print("a line", file=LogOutput(file), flush=True)
    assert path.read_text() == "a line\n"


def test_a_full_disk_does_not_matter():
    with Path("/dev/full").open("w") as full:
        print("a line", file=LogOutput(full), flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # closing writes what is left


def test_a_reader_that_has_gone_does_not_matter():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        print("a line", file=LogOutput(pipe), flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())


def test_a_stream_that_is_closed_does_not_matter(tmp_path: Path):
    with (tmp_path / "log").open("w") as file:
        output = LogOutput(file)
    print("a line", file=output, flush=True)


def test_our_lines_and_what_libraries_warn_of_are_json():
    program = (
        "import logging, structlog\n"
        "from edgedet_runtime.server_log import configure_log\n"
        "configure_log('info')\n"
        "structlog.get_logger().debug('not asked for')\n"
        "structlog.get_logger().info('ready', port=1)\n"
        "logging.getLogger('library').info('chatter')\n"
        "logging.getLogger('library').warning('careful')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [("info", "ready"), ("warning", "careful")]
    assert lines[0]["port"] == 1
    assert done.stderr == ""
