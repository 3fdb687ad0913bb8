"""A recipe: a TOML file that names one compression run completely, every choice in one place."""

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedet_compression.data.detection_augmentation import DetectionAugmentation
from edgedet_compression.data.image_augmentation import ImageAugmentation
from edgedet_compression.errors import BuildRefused
from edgedet_compression.training.schedule import Schedule, Share

_FOLDER = Path(__file__).parent / "recipes"
Positive = Annotated[float, Field(gt=0)]
Criterion = Literal["std-prune", "network-slimming", "l1-norm", "l2-norm", "geometric-median", "random"]
Augmentation = dict[str, bool | int | float | str]
"""Fields of `DetectionAugmentation` or `ImageAugmentation`; what is not given has its default there."""
Reference = str
"""A stage of this recipe, or RECIPE/STAGE of another one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Strict):
    """Which photos, and how they are split."""

    format: Literal["cifar10", "mnist", "folders", "coco", "voc"]
    folder: str
    """Below the data folder (EDGEDET_DATA) or the cache, or an absolute path."""
    labels: tuple[str, ...] = ()
    """In the order of the network's classes; without them, all that occur, sorted."""
    size: Annotated[int, Field(gt=0)] = 32
    """Side of the network's input in pixels."""
    train: str = "train"
    """Names of the splits: of VOC the lists, of COCO annotations/instances_NAME.json, of folders the subfolders."""
    validation: str = ""
    test: str = "test"
    hold_out: Annotated[int, Field(ge=0)] = 0
    """Photos of the training split that are kept for validation, where there is no split of that name."""
    seed: int = 0
    """Of the hold-out."""


class Distillation(_Strict):
    """What a student learns from, beside the labels."""

    teacher: Reference
    weight: Positive
    """Of a detector's distance to its teacher's heads; of classifiers its share, 0…1, the labels have the rest."""
    temperature: Positive = 1.0
    """Of classifiers (Hinton et al. 2015)."""


class NetworkSettings(_Strict):
    """A fresh network."""

    family: Literal["vgg16", "vgg19", "resnet20", "resnet32", "resnet56", "lenet", "yolov3", "yolov3-tiny"]
    anchors: tuple[tuple[float, float], ...] = ()
    """Of YOLO networks, in input pixels; without them those of COCO, scaled to the input."""


class _Stage(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class TrainStage(_Stage):
    """Trains a fresh network, or one of an earlier stage further."""

    kind: Literal["train"]
    network: NetworkSettings | None = None
    start: Reference | None = None
    schedule: Schedule
    augmentation: Augmentation = {}
    distillation: Distillation | None = None
    gamma_l1: Annotated[float, Field(ge=0)] = 0.0
    """Penalty on the scaling factors of BatchNorm (S1.4)."""
    gamma_l2: Annotated[float, Field(ge=0)] = 0.0
    all_data: bool = False
    """Also the photos held out for validation: of a final run."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.network is None) == (self.start is None):
            raise ValueError("give either network (a fresh one) or start (of an earlier stage)")
        return self


class RemoveBranchStage(_Stage):
    """Takes a branch out of a YOLO network (S1.1)."""

    kind: Literal["remove-branch"]
    start: Reference
    stride: Literal[8, 16, 32] = 32


class FreshCopyStage(_Stage):
    """The same structure with weights that know nothing: an ablation."""

    kind: Literal["fresh-copy"]
    start: Reference
    seed: int = 0


class PruneChannelsStage(_Stage):
    """Takes channels out and rebuilds the network dense (S1.4)."""

    kind: Literal["prune-channels"]
    start: Reference
    criterion: Literal["std-prune", "network-slimming", "l1-norm", "l2-norm", "geometric-median", "random"] = (
        "std-prune"
    )
    parameters: Annotated[int, Field(gt=0)]
    """At most this many are left."""
    floor: Share = 0.1
    """Share of a layer's channels that stays in any case."""
    seed: int = 0
    """Of random scores."""


class PruneWeightsStage(_Stage):
    """Zeros weights (S0.3) and fine-tunes what is left: in rounds, or at once (the baselines)."""

    kind: Literal["prune-weights"]
    start: Reference
    method: Literal["dynamic-percentage", "fixed-threshold", "sigma-multiple", "one-shot"] = "dynamic-percentage"
    sparsity: Annotated[float, Field(gt=0, lt=1)]
    rounds: Annotated[int, Field(gt=0)] = 1
    """As planned; only of dynamic-percentage, the others prune once."""
    tolerance: Annotated[float, Field(ge=0)] = 0.005
    """A round after which the validation figure is further below the dense network's is taken back."""
    spared: Literal["none", "first", "last", "first and last"] = "none"
    """Layers that keep all their weights."""
    schedule: Schedule
    """Of the fine-tuning of each round."""
    augmentation: Augmentation = {}
    distillation: None = None
    all_data: bool = False
    """Also the photos held out for validation: of a final run, whose rounds go as planned; none is taken back."""


class SensitivityStage(_Stage):
    """Zeros the smallest weights of each layer alone and validates: which layers bear pruning (S0.3)."""

    kind: Literal["sensitivity"]
    start: Reference
    sparsities: tuple[Share, ...] = (0.5, 0.8, 0.9, 0.95, 0.98)


class EvaluateStage(_Stage):
    """Accuracy on the test split, read once, with paired intervals against a baseline."""

    kind: Literal["evaluate"]
    networks: tuple[Reference, ...]
    baseline: Reference


class BranchReportStage(_Stage):
    """What each branch of a YOLO network costs and finds (S1.3), on the validation split."""

    kind: Literal["branch-report"]
    teacher: Reference
    variants: tuple[Reference, ...]
    """Networks without one branch each, …"""
    strides: tuple[Literal[8, 16, 32], ...]
    """… and the strides of these branches."""
    latency_size: Annotated[int, Field(gt=0)] = 416

    @model_validator(mode="after")
    def _a_stride_each(self) -> Self:
        if len(self.variants) != len(self.strides):
            raise ValueError(f"{len(self.variants)} variants, {len(self.strides)} strides: one each")
        return self


class ExportStage(_Stage):
    """An int8 package of a network."""

    kind: Literal["export"]
    start: Reference
    package: str
    description: str
    license: str
    size: int | None = None
    """Side of the package's input; else that of training."""


Stage = Annotated[
    TrainStage
    | RemoveBranchStage
    | FreshCopyStage
    | PruneChannelsStage
    | PruneWeightsStage
    | SensitivityStage
    | EvaluateStage
    | BranchReportStage
    | ExportStage,
    Field(discriminator="kind"),
]


class Recipe(_Strict):
    """A whole run, stage by stage."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str
    data: DataSettings
    stages: tuple[Stage, ...]

    @property
    def detects(self) -> bool:
        """Whether photos come with boxes."""
        return self.data.format in {"coco", "voc"}

    def stage(self, name: str) -> Stage:
        """A stage by its name.

        Raises:
            BuildRefused: no such stage; the message lists those that are.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = ", ".join(stage.name for stage in self.stages)
        raise BuildRefused(f"recipe {self.name} has no stage {name!r}; there are: {known}")

    @model_validator(mode="after")
    def _references_go_back(self) -> Self:
        known, names = set[str](), set[str]()
        for stage in self.stages:
            for reference in references(stage):
                if "/" not in reference and reference not in known:
                    raise ValueError(f"stage {stage.name}: {reference!r} is no earlier stage that makes a network")
            share = stage.distillation.weight if isinstance(stage, TrainStage) and stage.distillation else 0.0
            if share > 1 and not self.detects:
                raise ValueError(f"stage {stage.name}: distillation.weight of a classifier is a share, 0…1")
            for wrong in _unknown_augmentation(stage, detects=self.detects):
                raise ValueError(f"stage {stage.name}: augmentation: {wrong}")
            if stage.name in names:
                raise ValueError(f"two stages are called {stage.name}")
            names.add(stage.name)
            if not isinstance(stage, EvaluateStage | BranchReportStage | SensitivityStage | ExportStage):
                known.add(stage.name)
        return self


def references(stage: Stage) -> tuple[Reference, ...]:
    """What a stage reads."""
    found: list[Reference] = []
    if isinstance(stage, EvaluateStage):
        found += [*stage.networks, stage.baseline]
    elif isinstance(stage, BranchReportStage):
        found += [stage.teacher, *stage.variants]
    elif stage.start is not None:
        found.append(stage.start)
    if isinstance(stage, TrainStage) and stage.distillation is not None:
        found.append(stage.distillation.teacher)
    return tuple(dict.fromkeys(found))


def _unknown_augmentation(stage: Stage, *, detects: bool) -> Iterator[str]:
    """What is wrong with a stage's augmentation."""
    how = DetectionAugmentation if detects else ImageAugmentation
    known = [field.name for field in fields(how)]
    for name in getattr(stage, "augmentation", {}):
        if name not in known:
            yield f"nothing is called {name!r} there; there are: {', '.join(known)}"


def recipe_names() -> list[str]:
    """The recipes that come with EdgeDet."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def recipe_text(name: str) -> str:
    """A recipe's TOML: one that comes with EdgeDet by name, or a file by its path.

    Raises:
        BuildRefused: neither; the message lists the names.
    """
    if name.endswith(".toml"):
        try:
            return Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BuildRefused(f"recipe {name}: {error}") from error
    if name not in recipe_names():
        raise BuildRefused(f"no recipe {name!r}; there are: {', '.join(recipe_names())}; or give a file NAME.toml")
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(name: str) -> Recipe:
    """Read and check a recipe.

    Raises:
        BuildRefused: it is not there, not TOML, or a field does not fit; the message names the field.
    """
    try:
        return Recipe.model_validate(tomllib.loads(recipe_text(name)))
    except tomllib.TOMLDecodeError as error:
        raise BuildRefused(f"recipe {name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BuildRefused(f"recipe {name}: {field}: {first['msg']}") from error
