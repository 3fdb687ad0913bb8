"""What a run has reached so far, gathered for the HTML report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedet_evaluation.answering import read_photos
from edgedet_evaluation.intervals import Estimate
from torch import nn

from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.progress import Progress, silent
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.recipe import EvaluateStage, Recipe
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
from edgedet_compression.stages.context import OpenData
from edgedet_compression.training.detection import ValidationPhotos, detect

_PHOTOS = 3


def report_run(
    recipe: Recipe,
    folders: Mapping[str, StageFolder],
    data: OpenData,
    file: Path,
    progress: Progress = silent,
) -> None:
    """Write the report of the recipe's last evaluation that is done.

    Raises:
        BuildRefused: none is done yet.
    """
    evaluated = [stage for stage in recipe.stages if isinstance(stage, EvaluateStage) and folders[stage.name].done]
    if not evaluated:
        raise BuildRefused(f"{recipe.name}: nothing is evaluated yet; edgedet-compress run {recipe.name}")
    figures = folders[evaluated[-1].name].result()["networks"]
    networks = {name: folders[name].network() for name in figures if name in folders}
    done = [stage for stage in recipe.stages if folders[stage.name].done]
    content = ReportContent(
        title=recipe.name,
        summary=recipe.description,
        steps=tuple(f"{stage.name} ({stage.kind})" for stage in done),
        data=f"{recipe.data.folder}, {recipe.data.test}",
        command=f"edgedet-compress run {recipe.name}",
        variants=_variants(networks, figures, data, progress),
        charts=_charts(recipe, folders),
        photos=_photos(data, list(networks.values())),
        labels=data.labels,
        layers=_layers(recipe, folders),
    )
    write_report(content, file)


def _variants(
    networks: Mapping[str, nn.Module], figures: Mapping[str, Any], data: OpenData, progress: Progress
) -> tuple[Variant, ...]:
    advance = progress("measuring latency", len(networks))
    models = {}
    for name, network in networks.items():
        models[name] = export_onnx(network, data.image_shape)
        advance()
    latencies = measure_latency(models)
    return tuple(
        Variant(
            name=name,
            accuracy=_accuracy(figures[name]),
            parameters=parameter_count(network),
            sparsity=sparsity(prunable_weights(network)).total,
            macs=count_cost(network, data.image_shape).macs,
            file_bytes=models[name].ByteSize(),
            latency=latencies[name],
        )
        for name, network in networks.items()
    )


def _accuracy(figures: Mapping[str, Any]) -> tuple[Accuracy, ...]:
    found = {name: entry for name, entry in figures.items() if isinstance(entry, dict)}
    return tuple(Accuracy(name, _estimate(entry), _estimate(entry["minus baseline"])) for name, entry in found.items())


def _estimate(entry: Mapping[str, float]) -> Estimate:
    return Estimate(entry["value"], entry["low"], entry["high"])


def _charts(recipe: Recipe, folders: Mapping[str, StageFolder]) -> tuple[Chart, ...]:
    """Loss and validation figure over epochs, a curve for every training that is done."""
    logs = {
        stage.name: folders[stage.name].result().get("log", []) for stage in recipe.stages if folders[stage.name].done
    }
    charts = []
    for field, title in (("loss", "Training loss"), ("top1", "Validation top-1"), ("mAP50", "Validation mAP50")):
        curves = [
            Curve(name, tuple((entry["epoch"], entry[field]) for entry in log if field in entry))
            for name, log in logs.items()
        ]
        curves = [curve for curve in curves if curve.points]
        if curves:
            charts.append(Chart(title, "epoch", field, tuple(curves)))
    return tuple(charts)


def _photos(data: OpenData, networks: list[nn.Module]) -> tuple[PhotoPair, ...]:
    """Test photos with what the first and the last network find."""
    if not isinstance(data, DetectionData):
        return ()
    first, last = networks[0], networks[-1]
    assert isinstance(first, DarknetModule)
    assert isinstance(last, DarknetModule)
    photos = data.test.photos[:_PHOTOS]
    inputs = ValidationPhotos.read(data.some_test_photos(_PHOTOS), data.labels, data.settings.size)
    pairs = []
    for photo, codes, geometry in zip(
        read_photos(photo.file for photo in photos), inputs.inputs, inputs.geometries, strict=True
    ):
        before, after = (detect(network, codes, geometry) for network in (first, last))
        pairs.append(PhotoPair(photo.pixels[:, :, :3], before, after))
    return tuple(pairs)


def _layers(recipe: Recipe, folders: Mapping[str, StageFolder]) -> tuple[LayerChannels, ...]:
    """Of the last channel pruning."""
    widths = [folders[stage.name].result().get("widths") for stage in recipe.stages if folders[stage.name].done]
    found = [entry for entry in widths if entry]
    return tuple(LayerChannels(name, *pair) for name, pair in found[-1].items()) if found else ()
