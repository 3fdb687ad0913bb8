"""A training process that gets SIGINT or SIGTERM in the middle of an epoch leaves all that is needed to go on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from edgedet_compression.training.loop import LOG, train

from tests.conftest import ROOT
from tests.integration.compression.toy_training import EPOCHS, INTERRUPTED, SCHEDULE, STEPS, toy_network, toy_task

pytestmark = pytest.mark.needs_torch


def interrupted(folder: Path, steps: int, number: signal.Signals) -> tuple[int, list[str]]:
    """Start the program, send it a signal after some of its steps; its exit code and all that it printed."""
    command = [sys.executable, "-m", "tests.integration.compression.toy_training", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if len(lines) == steps:
                process.send_signal(number)
        return process.wait(), lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_epoch_leaves_a_checkpoint_from_which_the_same_network_results(
    tmp_path: Path, number: signal.Signals
):
    code, lines = interrupted(tmp_path / "parts", STEPS + 2, number)
    assert code == INTERRUPTED
    assert lines[-1].startswith("stopped in epoch 2, step ")
    assert STEPS + 1 <= lines.count("step") < 2 * STEPS  # the end of the first epoch is a line, too
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the program does
    parts, whole = toy_network(), toy_network()
    train(parts, toy_task(), SCHEDULE, tmp_path / "parts")
    train(whole, toy_task(), SCHEDULE, tmp_path / "whole")
    torch.set_num_threads(threads)
    found = parts.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in whole.state_dict().items())
    entries = [json.loads(line) for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == list(range(1, EPOCHS + 1))
