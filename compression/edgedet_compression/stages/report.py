"""What a run has reached so far, gathered for the HTML report."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import onnxruntime as ort
from edgedet_evaluation.answering import Answerer, read_photos
from edgedet_evaluation.mean_average_precision import THRESHOLDS
from edgedet_runtime.detection import Detections

from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.processor import processor_name
from edgedet_compression.progress import Progress, silent
from edgedet_compression.recipe import Recipe
from edgedet_compression.recipe_stages import BranchReportStage, EvaluateStage, PruneChannelsStage, SensitivityStage
from edgedet_compression.reports.chart import COLORS, Chart, Curve
from edgedet_compression.reports.html_report import KeptChannels, PhotoPair, ReportContent, write_report
from edgedet_compression.runs import StageFolder
from edgedet_compression.stages.branches import branch_table
from edgedet_compression.stages.context import OpenData
from edgedet_compression.stages.variants import (
    Compared,
    Folders,
    Speeds,
    class_table,
    measure_speeds,
    speed_table,
    variants,
)
from edgedet_compression.training.detection import PreparedPhotos, detect
from edgedet_compression.training.loop import read_log

_PHOTOS = 3
_SHOWN_SCORE = 0.25
"""Boxes below it count for mAP, and would hide a photo."""


def report_run(
    recipe: Recipe, folders: Folders, data: OpenData, file: Path, command: str, progress: Progress = silent
) -> None:
    """Write the report of the recipe's last evaluation that is done, with its packages; its figures as JSON beside it.

    Args:
        recipe: what was run.
        folders: of its stages, and of stages of other recipes that these name.
        data: the recipe's data set.
        file: the HTML file; the JSON has the same name.
        command: what makes it again, for the reader.
        progress: who watches.

    Raises:
        BuildRefused: nothing is evaluated yet, or ever will be.
    """
    evaluations = [stage for stage in recipe.stages if isinstance(stage, EvaluateStage)]
    if not evaluations:
        raise BuildRefused(f"{recipe.name} has no stage of kind evaluate: add one")
    evaluated = [stage for stage in evaluations if folders[stage.name].done]
    if not evaluated:
        raise BuildRefused(f"{recipe.name}: nothing is evaluated yet; {command}")
    compared = Compared.read(folders[evaluated[-1].name].result(), folders)
    speeds = measure_speeds(compared, compared.shapes(data.image_shape), progress)
    measured = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor_name(),
        "onnxruntime": ort.__version__,
    }
    first, *further = speeds
    by_class = class_table(compared)
    done = [stage for stage in recipe.stages if folders[stage.name].done]
    branches = [branch_table(folders[stage.name].result()) for stage in done if isinstance(stage, BranchReportStage)]
    content = ReportContent(
        title=recipe.name,
        summary=recipe.description,
        steps=tuple(f"{stage.name} ({stage.kind})" for stage in done),
        data=f"{Path(recipe.data.folder).name}/{recipe.data.test}, {_count(compared)} photos. Speed and MACs at "
        f"{first[1]} × {first[2]} pixels{', or those that a row names' if further else ''}",
        command=command,
        timed_on=f"ONNX Runtime {measured['onnxruntime']}, {measured['processor']}, {measured['date']}",
        variants=tuple(variants(compared, folders, speeds)),
        charts=(*_charts(recipe, folders), *_round_charts(recipe, folders), *_sensitivity_charts(recipe, folders)),
        photos=_photos(data, compared),
        labels=data.labels,
        channels=tuple(_kept_channels(recipe, folders)),
        tables=(
            *branches,
            *(speed_table(speeds, shape) for shape in further),
            *((by_class,) if by_class else ()),
        ),
    )
    write_report(content, file)
    results = {stage.name: _without_places(folders[stage.name].result()) for stage in done}
    write_figures(recipe, results, speeds, measured, file.with_suffix(".json"))


def write_figures(
    recipe: Recipe, results: Mapping[str, Any], speeds: Speeds, measured: Mapping[str, str], file: Path
) -> None:
    """The recipe, what its stages reached, and the speeds with when and on what they were measured, as JSON."""
    content = {
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
        "stages": results,
        "speed measured": measured,
        "speed": {
            f"{rows} x {columns}": {name: asdict(latency) for name, latency in taken.items()}
            for (_, rows, columns), taken in speeds.items()
        },
    }
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _without_places(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's figures, without where its files lie."""
    return {name: value for name, value in result.items() if name not in {"files", "package", "photos"}}


def _count(compared: Compared) -> int:
    """Photos of the evaluation."""
    entries = next(iter(compared.figures["networks"].values())).values()
    counts: list[int] = [entry["n"] for entry in entries if isinstance(entry, dict)]
    return counts[0]


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
            yield Chart(title, "epoch", field, tuple(curves), positive=field == "loss")


def _log(folder: StageFolder) -> list[dict[str, Any]]:
    """A training's log, ended or not; the rounds of a pruning one after the other."""
    if folder.done:
        result = folder.result()
        log, rounds = result.get("log", []), result.get("logs", [])
    else:
        begun = sorted(folder.path.glob("round-*"), key=lambda each: int(each.name.removeprefix("round-")))
        log, rounds = read_log(folder.path), [read_log(each) for each in begun]
    return log or [entry | {"epoch": number} for number, entry in enumerate(chain.from_iterable(rounds), start=1)]


def _round_charts(recipe: Recipe, folders: Folders) -> Iterator[Chart]:
    """What each round of pruning single weights has left of the validation figure; none of those that have none."""
    rounds = {stage.name: _rounds(folders[stage.name]) for stage in recipe.stages}
    curves = [Curve(name, points) for name, points in rounds.items() if points]
    if curves:
        yield Chart("Pruning of weights", "zeros, %", "validation figure", tuple(curves))


def _sensitivity_charts(recipe: Recipe, folders: Folders) -> Iterator[Chart]:
    """What is left of the validation figure when one layer alone loses weights: the layers that bear it least, as many
    as there are colors; all are in the stage's own plot."""
    for stage in recipe.stages:
        if isinstance(stage, SensitivityStage) and folders[stage.name].done:
            result = folders[stage.name].result()
            layers = sorted(result["layers"], key=lambda layer: layer["figures"][-1])
            yield Chart(
                f"{stage.name}: the weakest of {len(layers)} layers, dense {result['dense']:.4f}",
                "zeros in this layer alone, %",
                result["figure"],
                tuple(_layer_curve(layer) for layer in layers[: len(COLORS)]),
            )


def _layer_curve(layer: Mapping[str, Any]) -> Curve:
    points = zip(layer["sparsities"], layer["figures"], strict=True)
    return Curve(layer["layer"], tuple((100 * sparsity, figure) for sparsity, figure in points))


def _rounds(folder: StageFolder) -> tuple[tuple[float, float], ...]:
    if not folder.done or "rounds" not in folder.result():
        return ()
    result = folder.result()
    if result["reference"] is None:
        return ()
    kept = [(100 * entry["sparsity"], entry["figure"]) for entry in result["rounds"] if entry["kept"]]
    return ((100 * result.get("begun", 0.0), result["reference"]), *kept)


def _photos(data: OpenData, compared: Compared) -> tuple[PhotoPair, ...]:
    """Test photos with what the first network finds, and the first package, or without one the last network."""
    if not isinstance(data, DetectionData):
        return ()
    (first_name, first), (last_name, last) = (list(compared.networks.items())[place] for place in (0, -1))
    assert isinstance(first, DarknetModule)
    assert isinstance(last, DarknetModule)
    package = next(iter(compared.packages.values()), None)
    answerer = Answerer.load(package) if package else None
    captions = (first_name, package.reference if package else last_name)
    photos = data.test.photos[:_PHOTOS]
    inputs = PreparedPhotos.read(data.some_test_photos(_PHOTOS), data.labels, data.settings.size)
    pairs = []
    for photo, codes, geometry in zip(
        read_photos(photo.file for photo in photos), inputs.inputs, inputs.geometries, strict=True
    ):
        before = detect(first, codes, geometry)
        after = answerer(photo, THRESHOLDS) if answerer else detect(last, codes, geometry)
        assert isinstance(after, Detections)
        pairs.append(PhotoPair(photo.pixels[:, :, :3], _sure(before), _sure(after), captions))
    return tuple(pairs)


def _sure(found: Detections) -> Detections:
    """The boxes that are shown."""
    chosen = found.scores >= _SHOWN_SCORE
    return Detections(found.boxes[chosen], found.scores[chosen], found.labels[chosen])


def _kept_channels(recipe: Recipe, folders: Folders) -> Iterator[KeptChannels]:
    """What the channel prunings left, those of networks with the same layers and widths beside each other."""
    done = [stage for stage in recipe.stages if isinstance(stage, PruneChannelsStage) and folders[stage.name].done]
    prunings = {stage.name: folders[stage.name].result()["widths"] for stage in done}
    alike: dict[tuple[tuple[str, int], ...], dict[str, tuple[int, ...]]] = {}
    for name, widths in prunings.items():
        if not widths:  # an earlier version told nothing of layers that lost nothing
            continue
        network = tuple((layer, before) for layer, (before, _) in widths.items())
        alike.setdefault(network, {})[name] = tuple(after for _, after in widths.values())
    for network, after in alike.items():
        layers, before = zip(*network, strict=True)
        yield KeptChannels(layers, before, after)
