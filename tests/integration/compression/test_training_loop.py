"""The training loop: stopped anywhere it goes on bit for bit, and its log tells every epoch once."""

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from edgedet_compression.errors import SourceUnreadable, TrainingDiverged, TrainingInterrupted
from edgedet_compression.training.loop import CHECKPOINT, LOG, Methods, train
from edgedet_compression.training.schedule import Schedule
from torch import nn

from tests.integration.compression.toy_training import EPOCHS, SCHEDULE, STEPS, toy_network, toy_task

pytestmark = pytest.mark.needs_torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors of a few numbers gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


WITHOUT_AVERAGE = SCHEDULE.model_copy(update={"ema": None})


@dataclass
class StoppedTask:
    """The toy task, with a signal to this process before one of its batches or in one of its evaluations."""

    at: tuple[int, int] | None = None
    in_evaluation: int | None = None
    number: signal.Signals = signal.SIGINT
    task: Any = field(default_factory=toy_task)
    seen: list[tuple[int, int]] = field(default_factory=list)
    evaluations: int = 0

    @property
    def steps(self) -> int:
        return self.task.steps

    def batch(self, epoch: int, step: int) -> Any:
        self.seen.append((epoch, step))
        if self.at == (epoch, step):
            signal.raise_signal(self.number)
        return self.task.batch(epoch, step)

    def loss(self, network: nn.Module, batch: Any) -> Mapping[str, torch.Tensor]:
        return self.task.loss(network, batch)

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        if self.in_evaluation == self.evaluations:
            signal.raise_signal(self.number)
        self.evaluations += 1
        return self.task.evaluate(network)


def weights_after(schedule: Schedule, folder: Path, task: Any = None) -> dict[str, torch.Tensor]:
    network = toy_network()
    train(network, task or toy_task(), schedule, folder)
    return network.state_dict()


def assert_equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def log_of(folder: Path) -> list[dict[str, Any]]:
    """Without the time, which differs."""
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


@pytest.mark.parametrize("schedule", [SCHEDULE, WITHOUT_AVERAGE], ids=["averaged", "plain"])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (1, STEPS - 1), (EPOCHS - 1, STEPS - 1)])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, schedule: Schedule, at: tuple[int, int]):
    whole = weights_after(schedule, tmp_path / "whole")
    with pytest.raises(TrainingInterrupted, match=f"stopped in epoch {at[0] + 1}, step {at[1] + 1} of {STEPS}"):
        weights_after(schedule, tmp_path / "parts", StoppedTask(at))
    assert_equal(weights_after(schedule, tmp_path / "parts"), whole)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")
    assert [entry["epoch"] for entry in log_of(tmp_path / "whole")] == list(range(1, EPOCHS + 1))


def test_a_training_may_be_stopped_many_times(tmp_path: Path):
    whole = weights_after(SCHEDULE, tmp_path / "whole")
    seen = []
    for epoch, step, number in ((0, 1, signal.SIGTERM), (0, 3, signal.SIGINT), (2, 0, signal.SIGTERM)):
        task = StoppedTask((epoch, step), number=number)
        with pytest.raises(TrainingInterrupted):
            weights_after(SCHEDULE, tmp_path / "parts", task)
        seen += task.seen
    last = StoppedTask()
    assert_equal(weights_after(SCHEDULE, tmp_path / "parts", last), whole)
    assert seen + last.seen == [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)]


@pytest.mark.parametrize("evaluation", range(EPOCHS))
def test_a_wish_to_stop_in_an_evaluation_is_heard_after_it(tmp_path: Path, evaluation: int):
    whole = weights_after(SCHEDULE, tmp_path / "whole")
    task = StoppedTask(in_evaluation=evaluation)
    with pytest.raises(TrainingInterrupted, match=f"stopped after epoch {evaluation + 1} of {EPOCHS}"):
        weights_after(SCHEDULE, tmp_path / "parts", task)
    assert len(task.seen) == (evaluation + 1) * STEPS
    assert_equal(weights_after(SCHEDULE, tmp_path / "parts"), whole)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("schedule", [SCHEDULE, WITHOUT_AVERAGE], ids=["averaged", "plain"])
def test_an_evaluation_that_was_broken_off_is_done_again_without_its_epoch(tmp_path: Path, schedule: Schedule):
    class Killed(StoppedTask):
        def evaluate(self, network: nn.Module) -> Mapping[str, float]:
            if self.evaluations == 1:
                raise KeyboardInterrupt
            return super().evaluate(network)

    whole = weights_after(schedule, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        weights_after(schedule, tmp_path / "parts", Killed())
    again = StoppedTask()
    assert_equal(weights_after(schedule, tmp_path / "parts", again), whole)
    assert again.seen[0] == (2, 0)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_a_process_that_died_goes_on_from_the_last_epoch(tmp_path: Path):
    class Death(Exception):
        pass

    class Dying(StoppedTask):
        def batch(self, epoch: int, step: int) -> Any:
            if (epoch, step) == (2, 1):
                raise Death
            return super().batch(epoch, step)

    whole = weights_after(SCHEDULE, tmp_path / "whole")
    with pytest.raises(Death):
        weights_after(SCHEDULE, tmp_path / "parts", Dying())
    # What a crash between the line of an epoch and its checkpoint leaves.
    with (tmp_path / "parts" / LOG).open("a") as log:
        log.write('{"epoch": 3, "loss": 1.0}\n')
    again = StoppedTask()
    assert_equal(weights_after(SCHEDULE, tmp_path / "parts", again), whole)
    assert again.seen[0] == (2, 0)
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_a_checkpoint_that_a_power_failure_damaged_is_named(tmp_path: Path):
    whole = weights_after(SCHEDULE, tmp_path)
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(SourceUnreadable, match=rf"{CHECKPOINT} is damaged: remove it, and run again"):
        weights_after(SCHEDULE, tmp_path)
    checkpoint.unlink()
    assert_equal(weights_after(SCHEDULE, tmp_path), whole)


def test_a_log_that_a_power_failure_damaged_is_named(tmp_path: Path):
    whole = weights_after(SCHEDULE, tmp_path)
    (tmp_path / LOG).write_bytes(b"\0" * 64)
    with pytest.raises(SourceUnreadable, match=rf"{LOG} is damaged .*: remove it, and run again"):
        weights_after(SCHEDULE, tmp_path)
    (tmp_path / LOG).unlink()
    assert_equal(weights_after(SCHEDULE, tmp_path), whole)


def test_a_finished_training_is_not_done_again(tmp_path: Path):
    whole = weights_after(SCHEDULE, tmp_path)
    task = StoppedTask()
    network = toy_network()
    log = train(network, task, SCHEDULE, tmp_path)
    assert task.seen == []
    assert_equal(network.state_dict(), whole)
    assert [entry["epoch"] for entry in log] == list(range(1, EPOCHS + 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, LOG]


def test_handlers_of_signals_are_those_from_before(tmp_path: Path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(TrainingInterrupted):
        weights_after(SCHEDULE, tmp_path, StoppedTask((0, 0)))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path: Path):
    class Impatient(StoppedTask):
        def batch(self, epoch: int, step: int) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().batch(epoch, step)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            weights_after(SCHEDULE, tmp_path, Impatient((0, 0)))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("schedule", [SCHEDULE, WITHOUT_AVERAGE], ids=["averaged", "plain"])
def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path, schedule: Schedule):
    wild = schedule.model_copy(update={"lr": 1e30, "clip_norm": None})
    with pytest.raises(TrainingDiverged, match=r"the loss became (nan|inf) in epoch \d: lower the lr"):
        weights_after(wild, tmp_path)


def test_the_log_tells_rate_loss_and_figures(tmp_path: Path):
    weights_after(SCHEDULE.model_copy(update={"evaluate_every": 2}), tmp_path)
    first, second, last = log_of(tmp_path)
    assert first.keys() == {"epoch", "lr", "loss"}
    assert second.keys() == last.keys() == {"epoch", "lr", "loss", "top1"}
    assert first["loss"] == pytest.approx(1.4, abs=0.4)


def test_constraints_hold_in_the_result_and_penalties_are_told(tmp_path: Path):
    mask = torch.rand(6, 3, 3, 3, generator=torch.Generator().manual_seed(1)) < 0.5

    def hold(network: nn.Module) -> None:
        with torch.no_grad():
            network.get_parameter("0.weight").mul_(mask)

    def penalty(network: nn.Module) -> torch.Tensor:
        return 0.01 * network.get_parameter("1.weight").abs().sum()

    network = toy_network()
    log = train(network, toy_task(), SCHEDULE, tmp_path, Methods(penalty, hold))
    assert not network.get_parameter("0.weight")[~mask].any()
    assert network.get_parameter("0.weight")[mask].all()
    assert all(0 < entry["penalty"] < entry["loss"] for entry in log)


def test_the_average_follows_the_networks_of_all_steps(tmp_path: Path):
    networks: list[torch.Tensor] = []

    def remember(network: nn.Module) -> None:
        networks.append(network.get_parameter("6.bias").detach().clone())

    network = toy_network()
    train(network, toy_task(), SCHEDULE, tmp_path, Methods(hold=remember))
    own = networks[::2]  # between them the average itself is held
    average = own[0]
    for bias in own[1:]:
        average = 0.8 * average + 0.2 * bias
    assert len(own) == EPOCHS * STEPS
    torch.testing.assert_close(network.get_parameter("6.bias").detach(), average)
    assert not network.training
