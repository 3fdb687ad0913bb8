"""What is wrong with a stage where it stands in its recipe: names that lead nowhere, settings of the other task."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from pydantic import TypeAdapter, ValidationError

from edgedet_compression.data.augmentation_settings import DetectionAugmentation, ImageAugmentation
from edgedet_compression.recipe_stages import (
    BranchReportStage,
    EvaluateStage,
    ExportStage,
    GivenStage,
    PruneWeightsStage,
    QuantizeStage,
    Reference,
    RemoveBranchStage,
    SensitivityStage,
    Stage,
    TrainStage,
    references,
)

_PACKAGE, _NETWORK = "exports a package", "makes a network"
"""What a stage may be named for."""


def stage_faults(stage: Stage, made: Mapping[str, str], *, detects: bool) -> Iterator[str]:
    """What is wrong with a stage of detectors, or of classifiers; `made` tells what the earlier stages make."""
    yield from _reference_faults(stage, made)
    yield from (f"distillation.{wrong}" for wrong in _distillation_faults(stage, detects=detects))
    yield from (f"augmentation: {wrong}" for wrong in _augmentation_faults(stage, detects=detects))
    yield from _task_faults(stage, detects=detects)


def made_by(stage: Stage) -> str:
    """What a stage does for those that name it, in words; nothing where it only measures."""
    if isinstance(stage, ExportStage):
        return _PACKAGE
    return "" if isinstance(stage, EvaluateStage | BranchReportStage | SensitivityStage) else _NETWORK


def wanted_by(stage: Stage) -> Iterator[tuple[Reference, str]]:
    """The stages that a stage names, each with what it has to do, in the words of `made_by`."""
    packages: tuple[Reference, ...] = ()
    networks = references(stage)
    if isinstance(stage, EvaluateStage):
        packages, networks = stage.packages, (stage.baseline, *stage.networks)
    yield from ((reference, _PACKAGE) for reference in packages)
    yield from ((reference, _NETWORK) for reference in networks)


def _reference_faults(stage: Stage, made: Mapping[str, str]) -> Iterator[str]:
    """Names that are no earlier stage of the kind that is wanted; other recipes' stages are looked up when it runs."""
    for reference, what in wanted_by(stage):
        if "/" not in reference and made.get(reference) != what:
            there = ", ".join(name for name, makes in made.items() if makes == what) or "none"
            yield f"{reference!r} is no earlier stage that {what}; there are: {there}"


def _distillation_faults(stage: Stage, *, detects: bool) -> Iterator[str]:
    if not isinstance(stage, TrainStage | PruneWeightsStage) or stage.distillation is None:
        return
    if stage.distillation.weight > 1 and not detects:
        yield "weight of a classifier is a share, 0…1"
    for name in ("temperature", "views") if detects else ():
        if name in stage.distillation.model_fields_set:
            yield f"{name} is of classifiers: take it out"


def _augmentation_faults(stage: Stage, *, detects: bool) -> Iterator[str]:
    how = DetectionAugmentation if detects else ImageAugmentation
    given = getattr(stage, "augmentation", {})
    known = [field.name for field in fields(how)]
    yield from (f"nothing is called {name!r} there; there are: {', '.join(known)}" for name in given.keys() - {*known})
    try:
        TypeAdapter(how).validate_python(given)
    except ValidationError as error:
        yield from (f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())


def _family_faults(family: str, *, detects: bool) -> Iterator[str]:
    if detects and family in ("cifar-resnet", "lenet"):
        yield f"{family} is of classifiers, and these photos have boxes"
    elif not detects and family in ("yolov3", "yolov3-tiny"):
        yield f"{family} is of detectors, and these photos have no boxes"


def _task_faults(stage: Stage, *, detects: bool) -> Iterator[str]:
    """What only detectors have, or only classifiers."""
    if detects and isinstance(stage, QuantizeStage):
        yield "quantize is of classifiers, and these photos have boxes"
    elif isinstance(stage, GivenStage):
        yield from _family_faults(stage.family, detects=detects)
    elif not detects and isinstance(stage, RemoveBranchStage | BranchReportStage):
        yield f"{stage.kind} is of detectors, and these photos have no boxes"
    elif not detects and isinstance(stage, ExportStage) and stage.size is not None:
        yield "size is of detectors: a classifier's package reads photos of data.size; take it out"
