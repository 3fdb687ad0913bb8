"""A recipe: a TOML file that names one compression run completely, every choice in one place."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from edgedet_compression.errors import BuildRefused
from edgedet_compression.recipe_branches import Branches, branch_faults, branches_of
from edgedet_compression.recipe_faults import made_by, stage_faults
from edgedet_compression.recipe_stages import (
    BranchReportStage,
    ExportStage,
    FreshCopyStage,
    GivenStage,
    PruneChannelsStage,
    PruneWeightsStage,
    QuantizeStage,
    Reference,
    SensitivityStage,
    Stage,
    Strict,
    origins,
)
from edgedet_compression.training.schedule import Seed

_FOLDER = Path(__file__).parent / "recipes"
_COARSEST_STRIDE = 32
"""Of YOLO's heads, in pixels."""
_OF_FLOAT_NETWORKS = (QuantizeStage, PruneChannelsStage, FreshCopyStage)
_SIDES = {"cifar10": 32, "mnist": 28}
"""Of the images of data sets, in pixels."""


class DataSettings(Strict):
    """Which photos, and how they are split."""

    format: Literal["cifar10", "mnist", "folders", "coco", "voc"]
    folder: str
    """Below the data folder (EDGEDET_DATA), the cache or the working directory, or an absolute path."""
    labels: tuple[str, ...] = ()
    """In the order of the network's classes; without them, all that occur, sorted."""
    size: Annotated[int, Field(gt=0, le=4096)] = 32
    """Side of the network's input in pixels."""
    train: str = "train"
    """Names of the splits: of VOC the lists, of COCO annotations/instances_NAME.json, of folders the subfolders."""
    validation: str = ""
    test: str = "test"
    hold_out: Annotated[int, Field(ge=0)] = 0
    """Photos of the training split that are kept for validation, where there is no split of that name."""
    seed: Seed = 0
    """Of the hold-out and of the photos to calibrate on."""
    normalization: Literal["own", "imagenet"] = "own"
    """Of what classifiers read: the mean and deviation of the data set (of `folders` ImageNet's), or ImageNet's in any
    case, as a given network may want."""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        for label in self.labels:
            if self.labels.count(label) > 1:
                raise ValueError(f"labels has {label!r} twice: take one of them out")
        return self

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        names = [name for name in (self.train, self.validation, self.test) if name]
        if len({*names}) < len(names):
            raise ValueError(
                "train, validation and test must differ: photos that are learned or chosen by measure nothing"
            )
        return self

    @model_validator(mode="after")
    def _data_sets_stay_what_they_are(self) -> Self:
        side = _SIDES.get(self.format)
        if side is None:
            return self
        if self.labels:
            raise ValueError(f"labels are those of {self.format}: take them out")
        if "size" in self.model_fields_set and self.size != side:
            raise ValueError(f"size = {self.size}: {self.format} has {side} pixels; take it out")
        if self.format == "mnist" and self.normalization == "imagenet":
            raise ValueError("normalization = 'imagenet' is of color photos, mnist is gray: take it out")
        return self

    @property
    def without_test(self) -> Self:
        """What stages that do not look at the test split depend on."""
        return self.model_copy(update={"test": type(self).model_fields["test"].default})


class Recipe(Strict):
    """A whole run, stage by stage."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str
    data: DataSettings
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

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

    @field_validator("stages", mode="before")
    @classmethod
    def _stages_are_several(cls, given: object) -> object:
        if isinstance(given, dict):
            raise PydanticCustomError(
                "one_stage", "there may be several: write [[stages]] before each, in two brackets"
            )
        return given

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        made: dict[str, str] = {}
        branches: dict[str, Branches] = {}
        for stage in self.stages:
            for wrong in (*stage_faults(stage, made, detects=self.detects), *branch_faults(stage, branches)):
                raise ValueError(f"stage {stage.name}: {wrong}")
            if stage.name in made:
                raise ValueError(f"two stages are called {stage.name}")
            made[stage.name] = made_by(stage)
            if (found := branches_of(stage, branches)) is not None:
                branches[stage.name] = found
        return self

    @model_validator(mode="after")
    def _packages_have_names_of_their_own(self) -> Self:
        names = [stage.package for stage in self.stages if isinstance(stage, ExportStage)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"package {name} is exported by two stages: rename package in one of them")
        return self

    @model_validator(mode="after")
    def _networks_of_4_bits_are_where_they_can_be(self) -> Self:
        low_bit: dict[str, bool] = {}  # of the networks whose origin is in this recipe
        for stage in self.stages:
            if isinstance(stage, GivenStage) and stage.family == "sparse":  # only its file knows
                continue
            start = next(iter(origins(stage)), None)
            if start is not None and low_bit.get(start) and isinstance(stage, _OF_FLOAT_NETWORKS):
                raise ValueError(f"stage {stage.name}: {start} has 4 bits: start from the float network before it")
            if isinstance(stage, QuantizeStage) or start is None:
                low_bit[stage.name] = isinstance(stage, QuantizeStage)
            elif start in low_bit:
                low_bit[stage.name] = low_bit[start]
                wrong = isinstance(stage, ExportStage) and stage.baseline_fault(low_bit=low_bit[start])
                if wrong:
                    raise ValueError(f"stage {stage.name}: {wrong}")
        return self

    @model_validator(mode="after")
    def _detectors_sizes_fit(self) -> Self:
        sizes: dict[str, int | None] = {"data.size": self.data.size}
        for stage in self.stages:
            if isinstance(stage, ExportStage):
                sizes[f"stage {stage.name}: size"] = stage.size
            elif isinstance(stage, BranchReportStage):
                sizes[f"stage {stage.name}: latency_size"] = stage.latency_size
        for field, size in sizes.items():
            if self.detects and size is not None and size % _COARSEST_STRIDE:
                raise ValueError(f"{field} = {size}: detectors need a multiple of {_COARSEST_STRIDE}")
        return self

    @model_validator(mode="after")
    def _validation_is_there(self) -> Self:
        for stage in self.stages:
            if _asks_validation(stage) and not (self.data.validation or self.data.hold_out):
                raise ValueError(
                    f"stage {stage.name} asks the validation split: give data.validation (the name of a split) or "
                    "data.hold_out (a number of photos)"
                )
        return self


def look_up(reference: Reference, owner: Recipe) -> tuple[Recipe, Stage]:
    """A stage of recipe `owner`, or of the recipe that RECIPE/STAGE names.

    Raises:
        BuildRefused: no such recipe or stage.
    """
    name, slash, stage = reference.rpartition("/")
    owner = load_recipe(name) if slash else owner
    return owner, owner.stage(stage)


def _asks_validation(stage: Stage) -> bool:
    """Whether a stage cannot do without the validation split."""
    prunes_by_figure = isinstance(stage, PruneWeightsStage) and not stage.all_data
    return prunes_by_figure or isinstance(stage, SensitivityStage | BranchReportStage)


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
            return Path(name).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise BuildRefused(f"recipe {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BuildRefused(f"recipe {name} is no text in UTF-8: {error}") from error
    if name not in recipe_names():
        raise BuildRefused(f"no recipe {name!r}; there are: {', '.join(recipe_names())}; or give a file NAME.toml")
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(name: str) -> Recipe:
    """Read and check a recipe.

    Raises:
        BuildRefused: it is not there, not TOML, or a field does not fit; the message names the field, and the stage it
            is in.
    """
    try:
        content = tomllib.loads(recipe_text(name))
    except tomllib.TOMLDecodeError as error:
        raise BuildRefused(f"recipe {name} is not TOML: {error}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise BuildRefused(f"recipe {name}: {_told(error, content)}") from error


def _told(error: ValidationError, content: dict[str, Any]) -> str:
    """One of the faults: a name that is not known before the one that is missing because of it."""
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    return ": ".join([*_place(first["loc"], content), _message(first)])


def _message(fault: ErrorDetails) -> str:
    """pydantic's own, or where it speaks of tags and extras a plainer one."""
    if fault["type"] == "extra_forbidden":
        return "nothing is called that"
    if fault["type"] == "union_tag_not_found":
        return "kind is missing: it tells what the stage does"
    if fault["type"] == "union_tag_invalid":
        return f"kind: there is no {fault['ctx']['tag']!r}; there are: {fault['ctx']['expected_tags']}"
    return fault["msg"].removeprefix("Value error, ")


def _place(path: Sequence[str | int], content: dict[str, Any]) -> list[str]:
    """Where in the file a fault's path leads: the stage, by its number where no name is its own, and the field."""
    stage = []
    if path[:1] == ("stages",) and len(path) > 1:
        number, path = int(path[1]), path[3:]  # between them stands its kind
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in content["stages"]]
        name = names[number]
        stage = [f"stage {name if name and names.count(name) == 1 else number + 1}"]
    return stage + ([".".join(map(str, path))] if path else [])
