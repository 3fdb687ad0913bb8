"""What a report compares: the networks and packages of an evaluation, with their accuracy, sizes and speed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from edgedet_evaluation.intervals import Estimate
from edgedet_runtime.package import Package, load_package
from torch import nn

from edgedet_compression.accuracy import quantized_name
from edgedet_compression.export.low_bit_onnx import export_low_bit
from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.progress import Progress
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe_stages import Reference
from edgedet_compression.reports.html_report import Accuracy, FigureTable, Variant
from edgedet_compression.reports.latency import Latency, measure_latency
from edgedet_compression.runs import StageFolder

Folders = Mapping[Reference, StageFolder]
Shape = tuple[int, int, int]
"""Channels, rows and columns of an input."""
Speeds = dict[Shape, dict[Reference, Latency]]
_OF_CLASSES = {"top1": ("Top-1 of each class, %", "photos"), "mAP50": ("AP50 of each class, %", "boxes")}
"""By the figure: what it is of one class, and what is counted there."""


@dataclass(frozen=True)
class Compared:
    """By the names that the evaluation gives them; all are compared with the first network."""

    networks: dict[Reference, nn.Module]
    packages: dict[Reference, Package]
    figures: Mapping[str, Any]
    """The evaluation's result."""

    @classmethod
    def read(cls, figures: Mapping[str, Any], folders: Folders) -> "Compared":
        """What an evaluation measured; a package that is gone, or that is another one by now, is left out."""
        networks = {name: folders[name].network() for name in figures["networks"]}
        found = {name: _package(folders[name], entry["digest"]) for name, entry in figures["packages"].items()}
        return cls(networks, {name: package for name, package in found.items() if package is not None}, figures)

    def shapes(self, trained: Shape) -> list[Shape]:
        """The input of training, where accuracy was measured, and those of packages without their empty channel."""
        return list(dict.fromkeys((trained, *map(_shape, self.packages.values()))))


def measure_speeds(compared: Compared, shapes: list[Shape], progress: Progress) -> Speeds:
    """All networks at every shape, and the packages at their own, in turns."""
    advance = progress("measuring latency", len(shapes) * (len(compared.networks) + 1))
    speeds: Speeds = {}
    for shape in shapes:
        models = {}
        for name, network in compared.networks.items():
            models[name] = _onnx(network, shape)
            advance()
        for name, package in compared.packages.items():
            if (package.manifest.input.height, package.manifest.input.width) == shape[1:]:
                models[name] = onnx.load(package.path("model.onnx"))
        speeds[shape] = measure_latency(models)
        advance()
    return speeds


def variants(compared: Compared, folders: Folders, speeds: Speeds) -> Iterator[Variant]:
    """The networks at the first shape, and the packages after them, each at its own."""
    first = next(iter(speeds))
    baseline = next(iter(compared.networks))
    for name, network in compared.networks.items():
        accuracy = _accuracy(compared.figures["networks"][name], compared=name != baseline)
        # Zeros are left out of the file that pruning of weights writes, with their positions counted.
        file_bytes = folders[name].result().get("bytes_sparse")
        yield _variant(name, accuracy, network, first, speeds[first][name], file_bytes)
    for name, package in compared.packages.items():
        shape, start = _shape(package), _start(name, folders)
        accuracy = _accuracy(compared.figures["packages"][name], compared=True)
        size = "" if shape == first else f", {shape[1]} × {shape[2]} pixels"
        title = f"{package.reference}: {start} as {quantized_name(package)}{size}"
        shown = _variant(title, accuracy, _network(start, compared, folders), shape, speeds[shape][name])
        yield replace(shown, package=True)


def speed_table(speeds: Speeds, shape: Shape) -> FigureTable:
    """Speed at a further shape."""
    rows = tuple(
        (
            name,
            f"{latency.milliseconds.value:.2f}",
            f"{latency.speedup.value:.2f} [{latency.speedup.low:.2f}, {latency.speedup.high:.2f}]",
            f"{latency.frames_per_second:.3g}",
        )
        for name, latency in speeds[shape].items()
    )
    columns = ("network or package", "ms", "speed", "images/s")
    return FigureTable(f"Speed at {shape[1]} × {shape[2]} pixels", columns, rows)


def class_table(compared: Compared) -> FigureTable | None:
    """The figure of every class, one column a network or package; None of an evaluation made before it told them."""
    measured = {name: compared.figures["networks"][name] for name in compared.networks}
    measured |= {name: compared.figures["packages"][name] for name in compared.packages}
    for figure, (title, counted) in _OF_CLASSES.items():
        found = {name: entry.get(figure, {}).get("classes") for name, entry in measured.items()}
        if all(found.values()):
            first = next(iter(found.values()))
            rows = (
                (label, f"{one['n']:,}", *(f"{100 * classes[label]['value']:.2f}" for classes in found.values()))
                for label, one in first.items()
            )
            return FigureTable(title, ("class", counted, *found), tuple(rows))
    return None


def _variant(
    name: str,
    accuracy: tuple[Accuracy, ...],
    network: nn.Module | None,
    shape: Shape,
    latency: Latency,
    file_bytes: int | None = None,
) -> Variant:
    """Its file is the one that was timed, if no other is given."""
    # A low-bit network computes with other weights than its layers', and as often.
    counted = network.network if isinstance(network, LowBitNetwork) else network
    return Variant(
        name=name,
        accuracy=accuracy,
        parameters=None if network is None else parameter_count(network),
        sparsity=0.0 if network is None else sparsity(prunable_weights(network)).total,
        macs=None if counted is None else count_cost(counted, shape).macs,
        file_bytes=latency.model_bytes if file_bytes is None else file_bytes,
        latency=latency,
    )


def _start(name: Reference, folders: Folders) -> Reference:
    """What a package was exported from: of RECIPE/package a stage of that recipe, not of the one that is reported."""
    start: Reference = folders[name].result()["start"]
    recipe, slash, _ = name.rpartition("/")
    return f"{recipe}/{start}" if slash and "/" not in start else start


def _network(start: Reference, compared: Compared, folders: Folders) -> nn.Module | None:
    """None where the stage is of another recipe and nothing else names it."""
    if start in compared.networks:
        return compared.networks[start]
    return folders[start].network() if start in folders and folders[start].done else None


def _shape(package: Package) -> Shape:
    spec = package.manifest.input
    return min(spec.channels, 3), spec.height, spec.width


def _onnx(network: nn.Module, shape: Shape) -> onnx.ModelProto:
    return export_low_bit(network, shape).model if isinstance(network, LowBitNetwork) else export_onnx(network, shape)


def _package(folder: StageFolder, measured: str) -> Package | None:
    """The package of an export stage, if it is the one of this digest."""
    path = Path(folder.result()["package"])
    if not path.is_dir():
        return None
    package = load_package(path)
    return package if package.digest == measured else None


def _accuracy(figures: Mapping[str, Any], *, compared: bool) -> tuple[Accuracy, ...]:
    found = {name: entry for name, entry in figures.items() if isinstance(entry, dict)}
    return tuple(
        Accuracy(name, _estimate(entry), _estimate(entry["minus baseline"]) if compared else None)
        for name, entry in found.items()
    )


def _estimate(entry: Mapping[str, float]) -> Estimate:
    return Estimate(entry["value"], entry["low"], entry["high"])
