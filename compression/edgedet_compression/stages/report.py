"""What a run has reached so far, gathered for the HTML report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import onnx
from edgedet_evaluation.answering import Answerer, read_photos
from edgedet_evaluation.intervals import Estimate
from edgedet_evaluation.mean_average_precision import THRESHOLDS
from edgedet_runtime.detection import Detections
from edgedet_runtime.package import Package, load_package
from torch import nn

from edgedet_compression.accuracy import quantized_name
from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.low_bit_onnx import export_low_bit
from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.progress import Progress, silent
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.recipe import Recipe
from edgedet_compression.recipe_stages import BranchReportStage, EvaluateStage, ExportStage, Reference
from edgedet_compression.reports.chart import Chart, Curve
from edgedet_compression.reports.html_report import (
    Accuracy,
    LayerChannels,
    PhotoPair,
    ReportContent,
    Variant,
    write_report,
)
from edgedet_compression.reports.latency import measure_latency
from edgedet_compression.runs import StageFolder
from edgedet_compression.stages.branches import branch_table
from edgedet_compression.stages.context import OpenData
from edgedet_compression.training.detection import PreparedPhotos, detect
from edgedet_compression.training.loop import read_log

_PHOTOS = 3
_SHOWN_SCORE = 0.25
"""Boxes below it count for mAP, and would hide a photo."""
Folders = Mapping[Reference, StageFolder]
Shape = tuple[int, int, int]


def report_run(
    recipe: Recipe, folders: Folders, data: OpenData, file: Path, command: str, progress: Progress = silent
) -> None:
    """Write the report of the recipe's last evaluation that is done, with the packages of its networks.

    Args:
        recipe: what was run.
        folders: of its stages, and of stages of other recipes that these name.
        data: the recipe's data set.
        file: the HTML file.
        command: what makes it again, for the reader.
        progress: who watches.

    Raises:
        BuildRefused: nothing is evaluated yet.
    """
    evaluated = [stage for stage in recipe.stages if isinstance(stage, EvaluateStage) and folders[stage.name].done]
    if not evaluated:
        raise BuildRefused(f"{recipe.name}: nothing is evaluated yet; {command}")
    figures = folders[evaluated[-1].name].result()["networks"]
    networks = {name: folders[name].network() for name in figures}
    exports = [stage for stage in recipe.stages if isinstance(stage, ExportStage) and folders[stage.name].done]
    exports = [stage for stage in exports if stage.start in networks]
    packages = {stage.start: package for stage in exports for package in _package(folders[stage.name])}
    shape = _shape(exports, data)
    photos = next(iter(figures.values()))
    done = [stage for stage in recipe.stages if folders[stage.name].done]
    content = ReportContent(
        title=recipe.name,
        summary=recipe.description,
        steps=tuple(f"{stage.name} ({stage.kind})" for stage in done),
        data=f"{Path(recipe.data.folder).name}/{recipe.data.test}, {_count(photos)} photos. Speed and MACs at "
        f"{shape[1]} × {shape[2]} pixels",
        command=command,
        variants=tuple(_variants(networks, figures, folders, shape, packages, progress)),
        charts=(*_charts(recipe, folders), *_round_charts(recipe, folders)),
        photos=_photos(data, list(networks.values()), list(packages.values())),
        labels=data.labels,
        layers=_layers(recipe, folders),
        tables=tuple(
            branch_table(folders[stage.name].result()) for stage in done if isinstance(stage, BranchReportStage)
        ),
    )
    write_report(content, file)


def _package(folder: StageFolder) -> list[Package]:
    """The package that an export wrote; none where it is gone, or another was put in its place."""
    result = folder.result()
    path = Path(result["package"])
    if not path.is_dir():
        return []
    package = load_package(path)
    return [package] if package.digest == result["digest"] else []


def _shape(exports: Sequence[ExportStage], data: OpenData) -> Shape:
    """Channels, rows and columns that are timed: those of the last package, else of training."""
    channels, rows, columns = data.image_shape
    size = exports[-1].size if exports else None
    return (channels, size or rows, size or columns)


def _count(figures: Mapping[str, Any]) -> int:
    """Photos of the evaluation."""
    counts: list[int] = [entry["n"] for entry in figures.values() if isinstance(entry, dict)]
    return counts[0]


def _variants(
    networks: Mapping[Reference, nn.Module],
    figures: Mapping[str, Any],
    folders: Folders,
    shape: Shape,
    packages: Mapping[Reference, Package],
    progress: Progress,
) -> Iterator[Variant]:
    """The networks, and their packages after them."""
    advance = progress("measuring latency", len(networks) + len(packages) + 1)
    models = {}
    for name, network in networks.items():
        low = isinstance(network, LowBitNetwork)
        models[name] = export_low_bit(network, shape).model if low else export_onnx(network, shape)
        advance()
    for package in packages.values():
        models[package.reference] = onnx.load(package.path("model.onnx"))
        advance()
    latencies = measure_latency(models)
    advance()
    found = {}
    baseline = next(iter(networks))
    for name, network in networks.items():
        found[name] = Variant(
            name=name,
            accuracy=_accuracy(figures[name], compared=name != baseline),
            parameters=parameter_count(network),
            sparsity=sparsity(prunable_weights(network)).total,
            # A low-bit network computes with other weights than its layers', and as often.
            macs=count_cost(network.network if isinstance(network, LowBitNetwork) else network, shape).macs,
            # Zeros are left out of the file that pruning of weights writes, with their positions counted.
            file_bytes=folders[name].result().get("bytes_sparse", models[name].ByteSize()),
            latency=latencies[name],
        )
        yield found[name]
    for name, package in packages.items():
        yield replace(
            found[name],
            name=f"{package.reference}: {name} as {quantized_name(package)}",
            accuracy=_package_accuracy(package, found[name].accuracy),
            file_bytes=package.path("model.onnx").stat().st_size,
            latency=latencies[package.reference],
        )


def _accuracy(figures: Mapping[str, Any], *, compared: bool) -> tuple[Accuracy, ...]:
    found = {name: entry for name, entry in figures.items() if isinstance(entry, dict)}
    return tuple(
        Accuracy(name, _estimate(entry), _estimate(entry["minus baseline"]) if compared else None)
        for name, entry in found.items()
    )


def _package_accuracy(package: Package, wanted: Sequence[Accuracy]) -> tuple[Accuracy, ...]:
    """The same figures out of a package's manifest, which knows no other network to compare them with."""
    metrics = {metric.name.replace("top-1", "top1"): metric for metric in package.manifest.metrics}
    measured = [(each.figure, metrics[f"{each.figure}, {quantized_name(package)}"]) for each in wanted]
    return tuple(
        Accuracy(figure, Estimate(metric.value, *(metric.interval or (metric.value, metric.value))))
        for figure, metric in measured
    )


def _estimate(entry: Mapping[str, float]) -> Estimate:
    return Estimate(entry["value"], entry["low"], entry["high"])


def _charts(recipe: Recipe, folders: Folders) -> Iterator[Chart]:
    """Loss and validation figure over epochs, a curve for every training, also for one that has not ended."""
    logs = {stage.name: _log(folders[stage.name]) for stage in recipe.stages}
    for field, title in (("loss", "Training loss"), ("top1", "Validation top-1"), ("mAP50", "Validation mAP50")):
        curves = [
            Curve(name, tuple((entry["epoch"], entry[field]) for entry in log if field in entry))
            for name, log in logs.items()
        ]
        curves = [curve for curve in curves if curve.points]
        if curves:
            yield Chart(title, "epoch", field, tuple(curves))


def _log(folder: StageFolder) -> list[dict[str, Any]]:
    """A training's log; the rounds of a pruning one after the other."""
    if folder.done:
        result = folder.result()
        rounds = chain.from_iterable(result.get("logs", []))
        return result.get("log") or [entry | {"epoch": number} for number, entry in enumerate(rounds, start=1)]
    return read_log(folder.path)


def _round_charts(recipe: Recipe, folders: Folders) -> Iterator[Chart]:
    """What each round of pruning single weights has left of the validation figure."""
    rounds = {stage.name: _rounds(folders[stage.name]) for stage in recipe.stages}
    curves = [Curve(name, points) for name, points in rounds.items() if points]
    if curves:
        yield Chart("Pruning of weights", "zeros, %", "validation figure", tuple(curves))


def _rounds(folder: StageFolder) -> tuple[tuple[float, float], ...]:
    if not folder.done or "rounds" not in folder.result():
        return ()
    result = folder.result()
    kept = [(100 * entry["sparsity"], entry["figure"]) for entry in result["rounds"] if entry["kept"]]
    return ((0.0, result["reference"]), *kept)


def _photos(data: OpenData, networks: list[nn.Module], packages: list[Package]) -> tuple[PhotoPair, ...]:
    """Test photos with what the first network finds, and the last package, or without one the last network."""
    if not isinstance(data, DetectionData):
        return ()
    first, last = networks[0], networks[-1]
    assert isinstance(first, DarknetModule)
    assert isinstance(last, DarknetModule)
    answerer = Answerer.load(packages[-1]) if packages else None
    photos = data.test.photos[:_PHOTOS]
    inputs = PreparedPhotos.read(data.some_test_photos(_PHOTOS), data.labels, data.settings.size)
    pairs = []
    for photo, codes, geometry in zip(
        read_photos(photo.file for photo in photos), inputs.inputs, inputs.geometries, strict=True
    ):
        before = detect(first, codes, geometry)
        after = answerer(photo, THRESHOLDS) if answerer else detect(last, codes, geometry)
        assert isinstance(after, Detections)
        pairs.append(PhotoPair(photo.pixels[:, :, :3], _sure(before), _sure(after)))
    return tuple(pairs)


def _sure(found: Detections) -> Detections:
    """The boxes that are shown."""
    chosen = found.scores >= _SHOWN_SCORE
    return Detections(found.boxes[chosen], found.scores[chosen], found.labels[chosen])


def _layers(recipe: Recipe, folders: Mapping[str, StageFolder]) -> tuple[LayerChannels, ...]:
    """Of the last channel pruning."""
    widths = [folders[stage.name].result().get("widths") for stage in recipe.stages if folders[stage.name].done]
    found = [entry for entry in widths if entry]
    return tuple(LayerChannels(name, *pair) for name, pair in found[-1].items()) if found else ()
