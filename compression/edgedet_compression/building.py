"""Builds packages: read, quantize, verify, measure, and only then put in place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from edgedet_runtime.errors import RuntimeFault
from edgedet_runtime.manifest import NAME_PATTERN, InputSpec, Metric, Provenance, Task
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.verification import verify_package

from edgedet_compression.accuracy import MeasureAccuracy, Measured
from edgedet_compression.errors import BuildRefused, VerificationFailed
from edgedet_compression.export.package_writer import (
    PackageText,
    install,
    put_back,
    refuse_unwritable,
    staging_folder,
    write_model_package,
    write_with_metrics,
)
from edgedet_compression.float_baseline import Anchors, FloatNetwork
from edgedet_compression.known_models import CalibrationSet, FloatModel, KnownModel
from edgedet_compression.own_network import OwnNetwork
from edgedet_compression.own_photos import OwnPhotos, refuse_unfit
from edgedet_compression.photo_folder import photo_files, read_inputs
from edgedet_compression.progress import Progress, silent
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import (
    Outline,
    QuantizedNetwork,
    YoloShape,
    float_form,
    outline,
    quantize,
)
from edgedet_compression.sources import folder_sha256


@dataclass(frozen=True)
class Target:
    """Where a package goes; an existing version is replaced only on demand."""

    models: Path
    name: str
    version: int = 1
    replace: bool = False

    @property
    def folder(self) -> Path:
        """``models/<name>/<version>``."""
        return self.models / self.name / str(self.version)

    def check(self) -> None:
        """Find out before the work whether the package could be put there; one that a kill took away comes back.

        Raises:
            BuildRefused: a name that no package may have, a folder that cannot be written, or a version that exists.
        """
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise BuildRefused(
                f"a package cannot be called {self.name!r}: build NAME with lower-case letters, digits, '.', '_' and "
                f"'-', a letter or digit first ({NAME_PATTERN})"
            )
        try:
            refuse_unwritable(self.folder.parent)
            put_back(self.folder)
        except OSError as error:
            raise BuildRefused(
                f"--models {self.models}: no package can be written there ({error.strerror}); "
                "give a folder of yours by --models or EDGEDET_MODELS"
            ) from error
        if self.folder.exists() and not self.replace:
            raise BuildRefused(f"{self.folder} exists and versions are immutable: give another --version, or --replace")


@dataclass(frozen=True)
class Trained:
    """A float network with all that its package is made from; photos and input as the network reads them."""

    source: FloatModel
    input: InputSpec
    normalization: Normalization
    calibration: CalibrationSet
    accuracy: MeasureAccuracy | None
    """None: no photos to measure it on are known."""
    command: str
    """What makes it again: stands in the package as its recipe."""
    description: str
    license: str
    seed: int | None
    data: tuple[str, ...] = ()
    """What it was trained on, beside the calibration photos."""


def build_known(model: KnownModel, data: Path, target: Target, progress: Progress = silent) -> Package:
    """Build one of the known models, with its accuracy in the manifest.

    Raises:
        CompressionFault: data or weights are missing, or the package cannot be put there.
        GraphUnsupported: the network cannot be quantized.
    """
    target.check()
    trained = Trained(
        source=model.load(data),
        input=model.input,
        normalization=model.normalization,
        calibration=model.calibration(data, model.input, model.seed),
        accuracy=partial(model.accuracy, data),
        command=f"edgedet-compress build {model.name}",
        description=model.description,
        license=model.license,
        seed=model.seed,
    )
    return build_trained(trained, target, progress)


def build_trained(trained: Trained, target: Target, progress: Progress = silent) -> Package:
    """Quantize a float network and measure the package beside it, where there are photos; figures are in its manifest.

    Raises:
        BuildRefused: the package cannot be put there.
        GraphUnsupported: the network cannot be quantized.
        VerificationFailed: the package computes other codes than the numpy reference.
    """
    target.check()
    source = trained.source
    shape = _yolo_shape(source.anchors, source.labels)
    network = quantize(source.model, trained.calibration.photos, trained.normalization, shape, progress)
    return build_quantized(trained, network, target, progress)


def build_quantized(
    trained: Trained, network: QuantizedNetwork, target: Target, progress: Progress = silent
) -> Package:
    """Make a package of a quantized network and measure it beside the float one of `trained`, where there are photos.

    The quantized network need not be made from that one.

    Raises:
        BuildRefused, VerificationFailed: as `build_trained` does.
    """
    target.check()
    source = trained.source
    provenance = Provenance(
        recipe=trained.command,
        data=(*trained.data, f"calibration: {trained.calibration.data}"),
        seed=trained.seed,
        parent=source.parent,
        tool_version=version("edgedet"),
    )
    text = PackageText(target.name, target.version, trained.description, source.labels, trained.license, provenance)
    with staging_folder(target.models) as staging:
        package = _write_verified(staging / "unmeasured", text, trained.input, network, source.anchors, progress)
        metrics: Sequence[Metric] = ()
        if trained.accuracy:
            baseline = FloatNetwork.load(source.model, trained.normalization, source.anchors)
            metrics = trained.accuracy(Measured(package, trained.command, baseline, progress))
        target.check()  # again: all this takes minutes, in which another build may have been faster
        return install(write_with_metrics(staging / "measured", package, metrics), target.folder, staging)


def build_own(
    own: OwnNetwork,
    calibrate: Path,
    photos: OwnPhotos | None,
    target: Target,
    command: str,
    progress: Progress = silent,
) -> Package:
    """Quantize a user's network, calibrated on the photos of a folder, and measure it on others, where there are some.

    Raises:
        CompressionFault: something is missing or does not fit; the message names the option.
        EvaluationFault: the photos to measure on are not those of these labels.
        GraphUnsupported: naming the operator that stands in the way.
    """
    target.check()
    model = own.read()
    shape = _yolo_shape(own.anchors, own.labels)
    found = outline(model, shape)
    if found.classes != len(own.labels):
        raise BuildRefused(
            f"the network answers {found.classes} classes, --labels lists {len(own.labels)}: one line a class"
        )
    spec = _input_spec(found, own)
    files = photo_files(calibrate)
    task: Task = "detect" if own.anchors else "classify"
    accuracy = None
    if photos:
        measured, accuracy = photos.read(task, own.labels)
        refuse_unfit(measured, files, progress)
    inputs = read_inputs(files, spec)
    calibration = CalibrationSet(
        inputs, f"{calibrate.resolve().name}, {len(files)} photos, sha256 {folder_sha256(files)}"
    )
    trained = Trained(
        source=FloatModel(
            model=float_form(model, shape),
            anchors=own.anchors,
            labels=own.labels,
            parent=own.read_parent(),
        ),
        input=spec,
        normalization=own.normalization,
        calibration=calibration,
        accuracy=accuracy,
        command=command,
        description=own.description,
        license=own.license,
        seed=None,
    )
    return build_trained(trained, target, progress)


def store_metrics(package: Package, metrics: Sequence[Metric]) -> Package:
    """Put measured figures into a package's manifest and card; its digest stays.

    A figure of the same name on the same data is replaced, others are kept, also those that came while this package
    was measured.

    Raises:
        BuildRefused: another package took its place meanwhile.
    """
    folder = package.folder.resolve()  # "." could not be moved, and a link would become a copy
    now = load_package(folder)
    if now.digest != package.digest:
        raise BuildRefused(f"{folder} became another package while it was measured: evaluate it again")
    found = {(metric.name, metric.dataset): metric for metric in (*now.manifest.metrics, *metrics)}
    with staging_folder(folder.parent.parent) as staging:
        return install(write_with_metrics(staging / "measured", now, [*found.values()]), folder, staging)


def _write_verified(
    folder: Path, text: PackageText, source: InputSpec, network: QuantizedNetwork, anchors: Anchors, progress: Progress
) -> Package:
    package = write_model_package(folder, text, source, network, anchors)
    advance = progress("comparing with the numpy reference", 1)
    try:
        verify_package(package, [])
    except RuntimeFault as error:
        raise VerificationFailed(f"{text.name}: {error}") from error
    advance()
    return package


def _yolo_shape(anchors: Anchors, labels: Sequence[str]) -> YoloShape | None:
    return YoloShape(tuple(len(pairs) for pairs in anchors), len(labels)) if anchors else None


def _input_spec(found: Outline, own: OwnNetwork) -> InputSpec:
    _, channels, height, width = found.shape
    if channels not in {1, 3}:
        raise BuildRefused(f"the network reads {channels} channels: photos have 3, or 1 where they are gray")
    for name, rows, columns in found.heads:
        if height % rows or width % columns or height // rows != width // columns:
            raise BuildRefused(
                f"output {name!r} has {rows} x {columns} cells for an input of {height} x {width} pixels: they must be "
                "squares of whole pixels; export the network with an input whose sides are multiples of its stride"
            )
    return InputSpec.model_validate(
        {
            "name": found.input,
            "height": height,
            "width": width,
            "channels": 4 if channels == 3 else channels,
            "resize": own.resize,
            "filter": own.filter,
        }
    )
