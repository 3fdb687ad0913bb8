"""How much faster a training step of VGG16 is by other forms of its convolutions, and in memory that it keeps.

Winograd's form of the wide ones in fp32; where the processor has bf16, in which recipes train there, the unfolded form
of the deep ones. On one thread, at the recipes' batch. Each system is a process of its own, as memory that is kept once
stays kept; they take turns; printed are the medians of the rounds' ratios with their 95 % intervals, in processor time.

    python -m benchmarks.training_step [--rounds 20]
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from multiprocessing.connection import Connection

import torch
from edgedet_compression.networks.vgg import vgg16
from edgedet_compression.training.fast_convolutions import FastConvolutions
from edgedet_compression.training.precision import autocast, dtype_of
from edgedet_evaluation.paired_timing import ratio
from edgedet_runtime.malloc import keep_freed_memory
from rich.console import Console
from torch.nn import functional

from benchmarks.results import instructions, write_result

_BATCH, _WARM_UP = 125, 2
_DTYPE = dtype_of("auto")
_FAST = "unfolded" if _DTYPE is torch.bfloat16 else "Winograd"
_KEPT = f"{_FAST}, memory kept"
_SYSTEMS: dict[str, tuple[Callable[[], AbstractContextManager[object]], bool]] = {
    "direct": (nullcontext, False),
    _FAST: (FastConvolutions, False),
    _KEPT: (FastConvolutions, True),
}
_RATIOS = [("direct", _FAST), (_FAST, _KEPT), ("direct", _KEPT)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rounds measured, 20 by default")
    rounds = parser.parse_args().rounds
    times = _take_turns(rounds)
    ratios = {f"{above} / {below}": ratio(times[above], times[below]) for above, below in _RATIOS}
    content = {"network": "vgg16", "precision": str(_DTYPE).removeprefix("torch."), "batch": _BATCH, "rounds": rounds}
    path = write_result(
        f"training_step.{instructions()}", content | {name: asdict(found) for name, found in ratios.items()}
    )
    console = Console(highlight=False, soft_wrap=True)
    for name, found in ratios.items():
        console.print(f"{name}: {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]")
    console.print(f"written to {path}")


def _take_turns(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a step of every system in every round; who begins changes from round to round."""
    context = multiprocessing.get_context("spawn")
    turns = {}
    for name in _SYSTEMS:
        turns[name], theirs = context.Pipe()
        context.Process(target=_work, args=(name, rounds, theirs), daemon=True).start()
        theirs.close()
    names = list(_SYSTEMS)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + _WARM_UP):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            turns[name].send(None)
            milliseconds = turns[name].recv()
            if number >= _WARM_UP:
                times[name].append(milliseconds)
    return times


def _work(name: str, rounds: int, turns: Connection) -> None:
    """A step, forward, backward and update, whenever it is this system's turn."""
    form, memory_kept = _SYSTEMS[name]
    torch.set_num_threads(1)
    if memory_kept:
        keep_freed_memory(largest_block=1 << 30)  # as `edgedet-compress` does
    torch.manual_seed(0)
    network = vgg16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    images = torch.randn(_BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (_BATCH,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    for _ in range(rounds + _WARM_UP):
        turns.recv()
        began_ns = time.process_time_ns()
        with autocast(_DTYPE), form():
            loss = functional.cross_entropy(network(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        turns.send((time.process_time_ns() - began_ns) / 1e6)


if __name__ == "__main__":
    main()
