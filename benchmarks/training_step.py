"""How much faster a training step of VGG16 is with Winograd's form of its wide convolutions, on one thread, in fp32.

The two forms take turns on the same images; printed is the median of the rounds' ratios with its 95 % interval,
in processor time.

    python -m benchmarks.training_step [--rounds 20]
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import torch
from edgedet_compression.networks.vgg import vgg16
from edgedet_compression.training.winograd import Winograd
from edgedet_evaluation.paired_timing import System, ratio, take_turns
from rich.console import Console
from torch.nn import functional

from benchmarks.results import instructions, write_result

_BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="rounds measured, 20 by default")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    times = take_turns({"direct": _step(nullcontext), "winograd": _step(Winograd)}, rounds, warm_up=2)
    found = ratio(times["direct"], times["winograd"])
    content = {"network": "vgg16", "batch": _BATCH, "rounds": rounds, "direct / winograd": asdict(found)}
    path = write_result(f"training_step.{instructions()}", content)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"direct / winograd: {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]")
    console.print(f"written to {path}")


def _step(form: Callable[[], AbstractContextManager[object]]) -> System:
    """A step of its own network: forward, backward, update."""
    torch.manual_seed(0)
    network = vgg16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    images = torch.randn(_BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (_BATCH,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def run() -> None:
        with form():
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


if __name__ == "__main__":
    main()
