"""Arrays simulated by EdgeDet and by aihwkit: ResNet-20 on the same photos in the same run, one thread each.

Systems take turns; times are processor time. aihwkit needs an environment of its own (its torch tile: the C++ tile of
the wheel refuses weights of torch 2.13), EDGEDET_DATA the float weights:

    python3.11 -m venv aihwkit-env
    aihwkit-env/bin/pip install torch==2.13.0 torchvision scipy requests tqdm protobuf
    aihwkit-env/bin/pip install --no-deps aihwkit==1.1.0
    python -m benchmarks.nvm_beside_aihwkit aihwkit-env/bin/python [--rounds 40]
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from edgedet_compression.known_models import known_model
from edgedet_compression.sources import data_folder
from edgedet_evaluation.intervals import Estimate
from edgedet_evaluation.paired_timing import ratio
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.device.chip import Chip
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.photo import decode_photo
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

from benchmarks.nvm_speed import ADC_ONLY, GENERAL_NOISE, UNIFORM_NOISE, known, on_arrays, presets
from benchmarks.results import instructions, write_result
from demo.processes import ROOT

_NETWORK = "resnet20-cifar10"
_CHILD = Path(__file__).with_name("aihwkit_network.py")
_WARM_UP = 2
_OURS = {"without noise": (ADC_ONLY,), "with noise": (UNIFORM_NOISE, GENERAL_NOISE)}
_WANTED = {"without noise": "≥ 10", "with noise": "≥ 5"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreter", type=Path, help="python of an environment that holds aihwkit")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with known(_NETWORK) as subject:
        source = subject.package.manifest.input
        files = sorted((ROOT / "samples" / "photos").glob("*.jpg"))
        codes = [to_input(decode_photo(file.read_bytes()), source)[0] for file in files]
        values = [subject.network.prepare(photo) for photo in codes]
        systems = {"fp32": _timed(subject.network.run, values)}
        for name, preset in presets().items():
            if name in {ADC_ONLY, UNIFORM_NOISE, GENERAL_NOISE}:
                backend = NvmBackend(on_arrays(subject.package, preset, codes[0]), Chip(preset, 0))
                chain = prepare_chain(subject.package, backend, whole=True)
                systems[name] = _timed(chain.run_input, codes)
    with _in_its_environment(arguments.interpreter, values) as theirs:
        systems |= theirs
        times: dict[str, list[float]] = {name: [] for name in systems}
        for number in range(arguments.rounds + _WARM_UP):
            for name, system in systems.items():
                spent_ms = system()
                if number >= _WARM_UP:
                    times[name].append(spent_ms)
    ratios = {
        f"{other} / {ours}": ratio(times[other], times[ours])
        for kind, names in _OURS.items()
        for ours in names
        for other in theirs
        if "aihwkit" in other and (kind == "with noise") == ("noise" in other)
    }
    content = {
        "network": _NETWORK,
        "rounds": arguments.rounds,
        "median_ms": {name: median(spent) for name, spent in times.items()},
        "ratios": {name: asdict(estimate) for name, estimate in ratios.items()},
    }
    console = Console()
    console.print(_table(content["median_ms"], ratios))
    path = write_result(f"nvm_beside_aihwkit.{instructions()}", content)
    console.print(f"written to {path}", soft_wrap=True)


def _timed(run: Callable[[Any], object], photos: Sequence[Any]) -> Callable[[], float]:
    turn = iter(range(1 << 62))

    def next_photo() -> float:
        photo = photos[next(turn) % len(photos)]
        began_ns = time.thread_time_ns()
        run(photo)
        return (time.thread_time_ns() - began_ns) / 1e6

    return next_photo


@contextmanager
def _in_its_environment(interpreter: Path, photos: list[np.ndarray]) -> Iterator[dict[str, Callable[[], float]]]:
    """aihwkit's systems, in a process that runs on the same core."""
    model = known_model(_NETWORK).load(data_folder(None)).model
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        weights: dict[str, Any] = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        np.savez(file, nodes=json.dumps(_nodes(model)), photos=np.stack(photos), **weights)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with subprocess.Popen(
            [interpreter, _CHILD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asked, answers = process.stdin, process.stdout

            def ask(name: str) -> float:
                asked.write(name + "\n")
                asked.flush()
                return float(answers.readline())

            yield {name: (lambda name=name: ask(name)) for name in json.loads(answers.readline())}  # type: ignore[misc]
            asked.close()


def _nodes(model: onnx.ModelProto) -> list[dict[str, object]]:
    return [
        {"op": node.op_type, "inputs": list(node.input), "output": node.output[0]}
        | {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in {"strides", "pads"}}
        for node in model.graph.node
    ]


def _table(medians: dict[str, float], ratios: dict[str, Estimate]) -> Table:
    table = Table("system", "median ms", "ratio", "95 % interval", "wanted", title=f"{_NETWORK}, one thread, 576 rows")
    for name, median_ms in medians.items():
        table.add_row(name, f"{median_ms:.2f}", "", "", "")
    for name, estimate in ratios.items():
        wanted = _WANTED["with noise" if "noise" in name.partition(" / ")[0] else "without noise"]
        table.add_row(name, "", f"{estimate.value:.1f}", f"{estimate.low:.1f} … {estimate.high:.1f}", wanted)
    return table


if __name__ == "__main__":
    main()
