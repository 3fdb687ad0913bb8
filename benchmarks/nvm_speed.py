"""How fast arrays are simulated: compiled networks beside the same network in plain fp32, on one thread.

All systems take turns on the same photo, several times where it takes little; the table shows medians of ratios with
95 % intervals, times being processor time of the running thread. Arrays have 576 rows. The issue's rows have one plane
of cells and one pulse per code, as other simulators' figures have; `nor-flash-65nm`, of two planes and two pulses,
stands beside them. VGG16 has its shapes and random weights; the other networks' float weights come out of
EDGEDET_DATA, without which they are left out and nothing is written.

    python -m benchmarks.nvm_speed [--network vgg16] [--rounds 30]
"""

import argparse
import itertools
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from edgedet_compression.export.package_writer import PackageText, write_model_package
from edgedet_compression.float_baseline import FloatNetwork
from edgedet_compression.known_models import known_model
from edgedet_compression.networks.graph_builder import GraphBuilder
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import quantize
from edgedet_compression.sources import data_folder
from edgedet_evaluation.intervals import Estimate
from edgedet_evaluation.paired_timing import System, ratio, take_turns
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.chip_series import ChipSeries
from edgedet_nvm.device.cell import Cell
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.inputs import Drive
from edgedet_nvm.device.preset import AdcCircuit, Preset, Tile, load_preset
from edgedet_nvm.device.programming import Programming
from edgedet_nvm.device.slices import Slices
from edgedet_nvm.device.spread import RelativeSpread
from edgedet_nvm.sidecar import Sidecar, compile_package
from edgedet_runtime.backend import Tensor
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec, Provenance
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.photo import decode_photo
from rich.console import Console
from rich.table import Table

from benchmarks.results import instructions, write_result
from demo.processes import ROOT

_PHOTO = ROOT / "samples" / "photos" / "000000365655.jpg"
_FLOAT, _DIGITAL = "fp32", "int8 digital"
ADC_ONLY, PROGRAMMING_ERROR = "ADC only", "programming error"
UNIFORM_NOISE, GENERAL_NOISE = "uniform read noise", "general read noise"
_NOR = "nor-flash-65nm"
_PHOTOS_PER_CHIP, _CHIPS_BUILT = 100, 5
_WARM_UP = 2
_TURN_MS = 20
_CONVOLUTIONS: tuple[int | str, ...] = (
    64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"
)  # fmt: skip
_WANTED = {
    "vgg16": {ADC_ONLY: "≤ 0.4", UNIFORM_NOISE: "≤ 2"},
    "resnet20-cifar10": {ADC_ONLY: "≤ 0.8", UNIFORM_NOISE: "≤ 3.5"},
    "yolov3-tiny-coco": {ADC_ONLY: "≤ 0.55"},
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A network, as a package and in float."""

    package: Package
    network: FloatNetwork


@contextmanager
def vgg16() -> Iterator[Subject]:
    """VGG16 in the shape that CIFAR-10 asks for, weights drawn as He et al. (2015) begin with."""
    graph, rng = GraphBuilder("vgg16", (1, 3, 32, 32)), np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        deviation = float(np.sqrt(2 / np.prod(shape[1:])))
        return (rng.standard_normal(shape) * deviation).astype(np.float32)

    tensor, channels = "image", 3
    for place, width in enumerate(_CONVOLUTIONS):
        if isinstance(width, str):
            tensor = graph.max_pool(f"pool{place}", tensor, 2, 2, (0, 0, 0, 0))
            continue
        bias = np.zeros(width, np.float32)
        tensor = graph.conv(f"conv{place}", tensor, weight(width, channels, 3, 3), bias, padding=1)
        tensor, channels = graph.apply("Relu", f"relu{place}", [tensor]), width
    tensor = graph.apply("Flatten", "features", [tensor])
    tensor = graph.apply(
        "Relu", "hidden_relu", [graph.linear("hidden", tensor, weight(512, channels), np.zeros(512, "f"))]
    )
    model = graph.model([graph.linear("logits", tensor, weight(10, 512), np.zeros(10, "f"))])
    source = InputSpec(name="image", height=32, width=32, channels=4, resize="plain", filter="area")
    with tempfile.TemporaryDirectory() as folder:
        yield Subject(_packaged(model, source, Path(folder) / "1"), FloatNetwork.load(model, Normalization(), ()))


def _packaged(model: onnx.ModelProto, source: InputSpec, folder: Path) -> Package:
    photos = [to_input(decode_photo(file.read_bytes()), source)[0] for file in sorted(_PHOTO.parent.glob("*.jpg"))[:4]]
    provenance = Provenance(recipe="python -m benchmarks.nvm_speed", seed=0, tool_version=version("edgedet"))
    labels = tuple(str(number) for number in range(10))
    text = PackageText("vgg16", 1, "random weights", labels, "Apache-2.0", provenance)
    return write_model_package(folder, text, source, quantize(model, photos, Normalization()))


@contextmanager
def known(name: str) -> Iterator[Subject]:
    """One of `models/`, its float network out of EDGEDET_DATA."""
    model = known_model(name)
    source = model.load(data_folder(None))
    network = FloatNetwork.load(source.model, model.normalization, source.anchors)
    yield Subject(load_package(ROOT / "models" / name / "1"), network)


def presets() -> dict[str, Preset]:
    """What is simulated, by name."""
    bare = Preset(
        name="bare",
        description="a pair of cells for a weight of 7 bits, one pulse for a code, 8-bit converters",
        cell=Cell(level_count=128, i_max_na=2000, read_v=0.6),
        slices=Slices(signs="differential", bits_per_cell=7),
        tile=Tile(rows=576, columns=256),
        drive=Drive(kind="amplitude", bits=8),
        adc=AdcCircuit(bits=8),
    )
    uniform = RelativeSpread(law="relative", share=0.003, of="g_max")
    general = RelativeSpread(law="relative", share=0.01, of="own")
    return {
        ADC_ONLY: bare,
        UNIFORM_NOISE: bare.model_copy(update={"noise": uniform}),
        GENERAL_NOISE: bare.model_copy(update={"noise": general}),
        PROGRAMMING_ERROR: bare.model_copy(update={"programming": Programming(error=general)}),
        _NOR: load_preset(_NOR),
    }


def on_arrays(package: Package, preset: Preset, codes: Tensor) -> Sidecar:
    """The package compiled for a preset, calibrated on one photo."""
    return compile_package(package, preset, preset.name, 0, "channels", "mse", [codes])


def measure(subject: Subject, rounds: int) -> dict[str, Any]:
    """Times, their ratios to plain fp32, and the Monte Carlo's cost."""
    package = subject.package
    codes, _ = to_input(decode_photo(_PHOTO.read_bytes()), package.manifest.input)
    values = subject.network.prepare(codes)
    chains = {_DIGITAL: prepare_chain(package, OnnxRuntimeBackend(), whole=True)}
    chips = {name: Chip(preset, 0) for name, preset in presets().items()}
    sidecars = {name: on_arrays(package, chips[name].preset, codes) for name in (ADC_ONLY, _NOR)}
    for name, chip in chips.items():
        sidecar = sidecars.get(name, sidecars[ADC_ONLY])  # converters are calibrated on the ideal chip
        chains[name] = prepare_chain(package, NvmBackend(sidecar, chip), whole=True)
    series, erring = ChipSeries(package, sidecars[ADC_ONLY]), chips[PROGRAMMING_ERROR]
    chains[PROGRAMMING_ERROR] = series.chain(erring)
    systems: dict[str, System] = {_FLOAT: lambda: subject.network.run(values)}
    systems |= {name: (lambda chain=chain: chain.run_input(codes)) for name, chain in chains.items()}  # type: ignore[misc]
    runs = _runs_per_turn(systems[_FLOAT])
    repeated = {name: _repeated(system, runs) for name, system in systems.items()}
    times = {name: [ms / runs for ms in spent] for name, spent in take_turns(repeated, rounds, _WARM_UP).items()}
    seeds = itertools.count(1)
    building: dict[str, System] = {
        _FLOAT: repeated[_FLOAT],
        "a chip": lambda: series.chain(replace(erring, seed=next(seeds))),
    }
    built = take_turns(building, _CHIPS_BUILT, warm_up=1)
    per_chip = ratio(built["a chip"], [ms / runs for ms in built[_FLOAT]])
    ratios = {name: ratio(times[name], times[_FLOAT]) for name in chains}
    return {
        "package": package.reference,
        "rounds": rounds,
        "median_ms": {name: statistics.median(spent) for name, spent in times.items()},
        "ratios_to_fp32": {name: asdict(estimate) for name, estimate in ratios.items()},
        "a_chip_to_fp32": asdict(per_chip),
        "monte_carlo_per_chip_and_photo": ratios[PROGRAMMING_ERROR].value + per_chip.value / _PHOTOS_PER_CHIP,
    }


def _runs_per_turn(system: System) -> int:
    """As many as take some time: a test set, too, finds the network in the processor's cache."""
    (spent_ms,) = take_turns({_FLOAT: system}, 1, _WARM_UP)[_FLOAT]
    return max(1, int(_TURN_MS / spent_ms))


def _repeated(system: System, runs: int) -> System:
    def turn() -> None:
        for _ in range(runs):
            system()

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(_WANTED), help="one network alone; nothing is written then")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    console = Console()
    found: dict[str, dict[str, Any]] = {}
    for name in [arguments.network] if arguments.network else list(_WANTED):
        if name != "vgg16" and not os.environ.get("EDGEDET_DATA"):
            console.print(f"{name} is left out: its float weights are in EDGEDET_DATA, which is not set")
            continue
        with vgg16() if name == "vgg16" else known(name) as subject:
            found[name] = measure(subject, arguments.rounds)
        console.print(_table(name, found[name], _WANTED[name]))
    if len(found) < len(_WANTED):
        console.print("nothing is written: results hold all networks")
        return
    path = write_result(f"nvm_speed.{instructions()}", {"rows": 576, "networks": found})
    console.print(f"written to {path}", soft_wrap=True)


def _table(name: str, content: Mapping[str, Any], wanted: Mapping[str, str]) -> Table:
    table = Table("system", "median ms", "/ fp32", "95 % interval", "wanted", title=f"{name}, one thread, 576 rows")
    for system, median_ms in content["median_ms"].items():
        told: Sequence[str] = ("1", "")
        if system in content["ratios_to_fp32"]:
            estimate = Estimate(**content["ratios_to_fp32"][system])
            told = (f"{estimate.value:.3f}", f"{estimate.low:.3f} … {estimate.high:.3f}")
        table.add_row(system, f"{median_ms:.2f}", *told, wanted.get(system, ""))
    share = content["monte_carlo_per_chip_and_photo"]
    table.add_row(f"Monte Carlo, {_PHOTOS_PER_CHIP} photos a chip", "", f"{share:.3f}", "", "≤ 1.5")
    return table


if __name__ == "__main__":
    main()
