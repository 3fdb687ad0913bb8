"""How fast a package is: the segment chain beside the uncut int8 model and the float network, on one thread.

Systems take turns on the same photo, so that each round gives one ratio per pair; the table shows medians of ratios
with 95 % intervals. Times are processor time of the running thread, which a busy neighbor hardly touches. The float
network is rebuilt from its weights in EDGEDET_DATA; without that variable, or for a package that
`edgedet-compress build` does not know by name, int8 is measured alone, and nothing is written.

    python -m benchmarks.model_speed [--package models/yolov3-tiny-coco/1] [--rounds 100]
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from edgedet_compression.float_baseline import FloatNetwork
from edgedet_compression.known_models import KNOWN_MODELS
from edgedet_compression.sources import data_folder
from edgedet_evaluation.intervals import Estimate
from edgedet_evaluation.paired_timing import System, ratio, take_turns
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend, session_options
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.photo import decode_photo
from rich.console import Console
from rich.table import Table

from benchmarks.results import instructions, write_result
from demo.processes import ROOT

_PHOTO = ROOT / "samples" / "photos" / "000000365655.jpg"
_CHAIN, _FUSED, _FLOAT = "chain", "fused int8", "fp32"
_WARM_UP = 5
_IN_README = "yolov3-tiny-coco"
_WANTED = {
    _IN_README: {
        f"{_CHAIN} / {_FUSED}": "≤ 1.05",
        f"{_FLOAT} / {_FUSED}": "≥ 3.0",
        "fp32 network / package": "≥ 3.8",
    }
}


@dataclass(frozen=True, slots=True)
class Float:
    """The float network at work, and the size of its weights' file."""

    run: System
    size_bytes: int


def systems(package: Package) -> tuple[dict[str, System], Float | None]:
    """What is compared, by name; the float network too, if it can be built."""
    tensor, _ = to_input(decode_photo(_PHOTO.read_bytes()), package.manifest.input)
    chain = prepare_chain(package, OnnxRuntimeBackend())
    feeds = {package.manifest.input.name: tensor}
    fused = ort.InferenceSession(str(package.path("model.onnx")), session_options(), providers=["CPUExecutionProvider"])
    found: dict[str, System] = {
        _CHAIN: lambda: chain.run(feeds),
        _FUSED: lambda: fused.run(None, feeds),
    }
    for boundary in package.manifest.boundaries:
        cut_once = _cut_at(package, boundary.k)
        found[f"cut at {boundary.k} alone"] = lambda cut_once=cut_once: cut_once.run(feeds)  # type: ignore[misc]
    known = next((model for model in KNOWN_MODELS if model.name == package.manifest.name), None)
    if known is None or not os.environ.get("EDGEDET_DATA"):
        return found, None
    source = known.load(data_folder(None))
    network = FloatNetwork.load(source.model, known.normalization, source.anchors)
    values = network.prepare(tensor)
    baseline = Float(lambda: network.run(values), source.model.ByteSize())
    return {**found, _FLOAT: baseline.run}, baseline


def is_in_readme(package: Package, baseline: Float | None) -> bool:
    """Whether these are the figures that the README quotes; others must not take their place."""
    return package.manifest.name == _IN_README and baseline is not None


def _cut_at(package: Package, k: int) -> Chain:
    """The package cut at boundary k alone."""
    boundary = package.manifest.boundaries[k - 1].model_copy(update={"k": 1})
    manifest = package.manifest.model_copy(update={"boundaries": (boundary,)})
    return prepare_chain(Package(package.folder, manifest, package.digest), OnnxRuntimeBackend())


@dataclass(frozen=True, slots=True)
class Memory:
    """What chains add to the resident memory of a fresh process."""

    first_mb: float
    """The first chain after one answer: weights, working memory of the activations, code of the libraries."""
    further_mb: float
    """One more chain, not run yet: another copy of the weights and little else, as a fused twin would be."""


def measure_memory(folder: Path) -> Memory:
    """Load chains in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.model_speed", "--package", str(folder), "--memory-only"]
    return Memory(**json.loads(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout))


def _own_memory(folder: Path) -> Memory:
    package = load_package(folder)
    tensor, _ = to_input(decode_photo(_PHOTO.read_bytes()), package.manifest.input)
    before = _resident_mb()
    first = prepare_chain(package, OnnxRuntimeBackend())
    first.run_input(tensor)
    with_first = _resident_mb()
    further = prepare_chain(package, OnnxRuntimeBackend())
    with_further = _resident_mb()
    del first, further
    return Memory(with_first - before, with_further - with_first)


def _resident_mb() -> float:
    """What is in use: memory that the allocator keeps for later is given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=ROOT / "models" / "yolov3-tiny-coco" / "1")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_only:
        json.dump(asdict(_own_memory(arguments.package)), sys.stdout)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    package = load_package(arguments.package)
    found, baseline = systems(package)
    times = take_turns(found, arguments.rounds, _WARM_UP)
    model_mb = package.path("model.onnx").stat().st_size / 1e6
    package_mb = sum(file.stat().st_size for file in package.folder.iterdir()) / 1e6
    memory = measure_memory(arguments.package.resolve())
    ratios = {f"{name} / {_FUSED}": ratio(times[name], times[_FUSED]) for name in found if name not in {_FUSED, _FLOAT}}
    sizes = {
        "model.onnx, MB": model_mb,
        "memory of the first chain, MB": memory.first_mb,
        "memory of a further chain, MB": memory.further_mb,
        "further chain / model.onnx": memory.further_mb / model_mb,
    }
    if baseline:
        ratios |= {f"{_FLOAT} / {name}": ratio(times[_FLOAT], times[name]) for name in (_FUSED, _CHAIN)}
        float_mb = baseline.size_bytes / 1e6
        sizes |= {"fp32 network, MB": float_mb, "fp32 network / package": float_mb / package_mb}
    _print(package, times, ratios, sizes)
    if not is_in_readme(package, baseline):
        Console().print(f"nothing is written: results hold {_IN_README} beside its float network (EDGEDET_DATA)")
        return
    content: dict[str, Any] = {
        "package": package.reference,
        "digest": package.digest,
        "rounds": arguments.rounds,
        "median_ms": {name: statistics.median(values) for name, values in times.items()},
        "ratios": {name: asdict(estimate) for name, estimate in ratios.items()},
        "sizes": sizes,
    }
    path = write_result(f"model_speed.{instructions()}", content)
    Console().print(f"written to {path}", soft_wrap=True)


def _print(
    package: Package,
    times: Mapping[str, Sequence[float]],
    ratios: Mapping[str, Estimate],
    sizes: Mapping[str, float],
) -> None:
    console = Console()
    table = Table("system", "median ms", title=f"{package.reference}, one thread")
    for name, values in times.items():
        table.add_row(name, f"{statistics.median(values):.2f}")
    console.print(table)
    wanted = _WANTED.get(package.manifest.name, {})
    table = Table("ratio", "median", "95 % interval", "wanted")
    for name, estimate in ratios.items():
        interval = f"{estimate.low:.3f} … {estimate.high:.3f}"
        table.add_row(name, f"{estimate.value:.3f}", interval, wanted.get(name, ""))
    for name, value in sizes.items():
        table.add_row(name, f"{value:.2f}", "", wanted.get(name, ""))
    console.print(table)


if __name__ == "__main__":
    main()
