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


@dataclass(frozen=True)
class Compared:
    """By the names that the evaluation gives them; all are compared with the first network."""

    networks: dict[Reference, nn.Module]
    packages: dict[Reference, Package]
    figures: Mapping[str, Any]
    """The evaluation's result."""

    @classmethod
    def read(cls, figures: Mapping[str, Any], folders: Folders) -> "Compared":
        """What an evaluation measured; a package that is gone, or that another took the place of, is left out."""
        networks = {name: folders[name].network() for name in figures["networks"]}
        found = {name: _package(folders[name]) for name in figures["packages"]}
        return cls(networks, {name: package for name, package in found.items() if package is not None}, figures)

    def shapes(self, otherwise: Shape) -> list[Shape]:
        """The packages' inputs, without one that of training; a fourth, empty channel does not count."""
        specs = [package.manifest.input for package in self.packages.values()]
        return list(dict.fromkeys((min(spec.channels, 3), spec.height, spec.width) for spec in specs)) or [otherwise]


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
    """The networks at the first shape, and their packages after them."""
    shape = next(iter(speeds))
    found = {}
    baseline = next(iter(compared.networks))
    for name, network in compared.networks.items():
        result = folders[name].result()
        found[name] = Variant(
            name=name,
            accuracy=_accuracy(compared.figures["networks"][name], compared=name != baseline),
            parameters=parameter_count(network),
            sparsity=sparsity(prunable_weights(network)).total,
            # A low-bit network computes with other weights than its layers', and as often.
            macs=count_cost(network.network if isinstance(network, LowBitNetwork) else network, shape).macs,
            # Zeros are left out of the file that pruning of weights writes, with their positions counted.
            file_bytes=result.get("bytes_sparse", speeds[shape][name].model_bytes),
            latency=speeds[shape][name],
        )
        yield found[name]
    for name, package in compared.packages.items():
        start = folders[name].result()["start"]
        if name in speeds[shape] and start in found:
            yield replace(
                found[start],
                name=f"{package.reference}: {start} as {quantized_name(package)}",
                accuracy=_accuracy(compared.figures["packages"][name], compared=True),
                file_bytes=speeds[shape][name].model_bytes,
                latency=speeds[shape][name],
            )


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


def _onnx(network: nn.Module, shape: Shape) -> onnx.ModelProto:
    return export_low_bit(network, shape).model if isinstance(network, LowBitNetwork) else export_onnx(network, shape)


def _package(folder: StageFolder) -> Package | None:
    result = folder.result()
    path = Path(result["package"])
    if not path.is_dir():
        return None
    package = load_package(path)
    return package if package.digest == result["digest"] else None


def _accuracy(figures: Mapping[str, Any], *, compared: bool) -> tuple[Accuracy, ...]:
    found = {name: entry for name, entry in figures.items() if isinstance(entry, dict)}
    return tuple(
        Accuracy(name, _estimate(entry), _estimate(entry["minus baseline"]) if compared else None)
        for name, entry in found.items()
    )


def _estimate(entry: Mapping[str, float]) -> Estimate:
    return Estimate(entry["value"], entry["low"], entry["high"])
