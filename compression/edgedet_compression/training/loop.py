"""The training loop: the same for every task; it can be stopped at any step and goes on bit for bit.

What is random is a function of (seed, epoch, step), so a checkpoint holds no state of random number generators.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgedet_compression.errors import SourceUnreadable, TrainingDiverged, TrainingInterrupted
from edgedet_compression.progress import Progress, silent
from edgedet_compression.tensor_file import read_tensors, write_tensors
from edgedet_compression.training.fast_convolutions import FastConvolutions
from edgedet_compression.training.interruption import Interruption
from edgedet_compression.training.optimizer import one_cycle, sgd
from edgedet_compression.training.precision import autocast, dtype_of
from edgedet_compression.training.schedule import Schedule
from edgedet_compression.training.task import Task

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"


@dataclass(frozen=True)
class Methods:
    """What a compression method adds to plain training."""

    penalty: Callable[[nn.Module], Tensor] | None = None
    """A term of the loss, out of the network alone."""
    hold: Callable[[nn.Module], None] | None = None
    """Called after every step: puts a constraint (a mask, say) in force again."""


@dataclass
class _Run:
    """All that changes while training; `epoch` and `step` are the next to be done."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    average: AveragedModel | None
    epoch: int = 0
    step: int = 0
    sums: dict[str, float] | None = None

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated, and is the result."""
        return self.network if self.average is None else self.average.module

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.epoch, self.step, self.sums = state["epoch"], state["step"], state["sums"]


def train(
    network: nn.Module,
    task: Task,
    schedule: Schedule,
    folder: Path,
    methods: Methods | None = None,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Train `network` in place and return the log, one entry an epoch.

    The folder gets a checkpoint and a line of log every epoch, and a checkpoint before every evaluation; where it
    holds one already, training goes on from there.

    Raises:
        TrainingInterrupted: SIGINT or SIGTERM came; a checkpoint of the very step is there.
        TrainingDiverged: the loss is no number any more.
        SourceUnreadable: the checkpoint is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    methods = methods or Methods()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    run = _start(network, task, schedule)
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        run.load(read_tensors(checkpoint))
    log = read_log(folder, run.epoch)
    with Interruption() as interruption:
        while run.epoch < schedule.epochs:
            entry = _epoch(run, task, schedule, methods, interruption, checkpoint, progress)
            log.append(entry)
            _write_log(folder / LOG, log)
            write_tensors(run.state(), checkpoint)
            if interruption.wished:  # in the evaluation
                raise TrainingInterrupted(f"stopped after epoch {run.epoch} of {schedule.epochs}")
    if run.average is not None:
        network.load_state_dict(run.average.module.state_dict())
    network.eval()
    return log


def _start(network: nn.Module, task: Task, schedule: Schedule) -> _Run:
    optimizer = sgd(schedule, network)
    average = None
    if schedule.ema is not None:
        averaging = get_ema_multi_avg_fn(schedule.ema)  # type: ignore[no-untyped-call]
        average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
    return _Run(network, optimizer, one_cycle(schedule, optimizer, schedule.epochs * task.steps), average)


def _epoch(
    run: _Run,
    task: Task,
    schedule: Schedule,
    methods: Methods,
    interruption: Interruption,
    checkpoint: Path,
    progress: Progress,
) -> dict[str, Any]:
    start_s = time.monotonic()
    sums = run.sums or {}
    # The evaluation is one more to be done.
    advance = progress(f"epoch {run.epoch + 1} of {schedule.epochs}", task.steps - run.step + 1)
    run.network.train()
    while run.step < task.steps:
        parts = _step(run, task, schedule, methods)
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
        run.step += 1
        advance()
        if interruption.wished:
            run.sums = sums
            write_tensors(run.state(), checkpoint)
            raise TrainingInterrupted(f"stopped in epoch {run.epoch + 1}, step {run.step} of {task.steps}")
    evaluated = (run.epoch + 1) % schedule.evaluate_every == 0 or run.epoch + 1 == schedule.epochs
    if evaluated:  # it may take minutes; whoever breaks it off keeps the epoch
        run.sums = sums
        write_tensors(run.state(), checkpoint)
    entry: dict[str, Any] = {"epoch": run.epoch + 1, "lr": run.scheduler.get_last_lr()[0]}
    entry |= {name: value / task.steps for name, value in sums.items()}
    run.epoch, run.step, run.sums = run.epoch + 1, 0, None
    if evaluated:
        run.kept.eval()
        with torch.no_grad():
            entry |= task.evaluate(run.kept)
    advance(", ".join(f"{name} {entry[name]:.4g}" for name in ("loss", "top1", "mAP50") if name in entry))
    return entry | {"seconds": round(time.monotonic() - start_s, 1)}


def _step(run: _Run, task: Task, schedule: Schedule, methods: Methods) -> dict[str, float]:
    torch.manual_seed(_seed(schedule.seed, run.epoch, run.step))  # of dropout and its kin
    batch = task.batch(run.epoch, run.step)
    with autocast(dtype_of(schedule.precision)), FastConvolutions():
        parts = dict(task.loss(run.network, batch))
    if methods.penalty is not None:
        parts["penalty"] = methods.penalty(run.network)
        parts["loss"] = parts["loss"] + parts["penalty"]
    if not torch.isfinite(parts["loss"]):
        raise TrainingDiverged(f"the loss became {parts['loss'].item()} in epoch {run.epoch + 1}: lower the lr")
    run.optimizer.zero_grad(set_to_none=True)
    parts["loss"].backward()  # type: ignore[no-untyped-call]
    if schedule.clip_norm is not None:
        nn.utils.clip_grad_norm_(run.network.parameters(), schedule.clip_norm)
    run.optimizer.step()
    run.scheduler.step()
    if methods.hold is not None:
        methods.hold(run.network)
    if run.average is not None:
        run.average.update_parameters(run.network)
        if methods.hold is not None:
            methods.hold(run.average.module)
    return {name: float(part.detach()) for name, part in parts.items()}


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def read_log(folder: Path, epochs: int | None = None) -> list[dict[str, Any]]:
    """The log that a training left in its folder; `epochs`: those alone, as a crash may come before a checkpoint.

    Raises:
        SourceUnreadable: it is damaged.
    """
    file = folder / LOG
    if not file.is_file():
        return []
    try:
        log: list[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise SourceUnreadable(
            f"{file} is damaged ({error}): remove it, and run again: the training goes on, without its curve so far"
        ) from error
    return [entry for entry in log if epochs is None or entry["epoch"] <= epochs]


def _write_log(file: Path, log: list[dict[str, Any]]) -> None:
    part = file.with_suffix(".part")
    part.write_text("".join(json.dumps(entry) + "\n" for entry in log), encoding="utf-8")
    part.replace(file)
