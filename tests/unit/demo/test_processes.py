"""Processes that cannot be started."""

import pytest

from demo.processes import StartFailed, start_edge


def test_a_program_that_is_not_there_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match="there is no program taskset: install it, or use make"):
        start_edge(tmp_path, cpus=[0])
