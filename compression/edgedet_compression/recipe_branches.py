"""Which branches the YOLO networks of a recipe have, as far as its stages tell: known before any network is made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgedet_compression.recipe_stages import (
    GivenStage,
    NetworkSettings,
    PruneWeightsStage,
    RemoveBranchStage,
    Stage,
    TrainStage,
    origins,
)

_STRIDES = {"yolov3": (32, 16, 8), "yolov3-tiny": (32, 16)}


@dataclass(frozen=True)
class Branches:
    """Of one network."""

    network: NetworkSettings
    strides: tuple[int, ...]

    def taught_by(self, teacher: "Branches") -> bool:
        """Whether a teacher may have these heads; what anchors of their own mean for that, the training tells."""
        alike = self.network.family == teacher.network.family or bool(self.network.anchors or teacher.network.anchors)
        return alike and {*self.strides} <= {*teacher.strides}

    def __str__(self) -> str:
        own = " with anchors of its own" if self.network.anchors else ""
        return f"a {self.network.family}{own} of strides {', '.join(map(str, self.strides))}"


def branches_of(stage: Stage, known: Mapping[str, Branches]) -> Branches | None:
    """Of what a stage makes; `known` are those of earlier stages. None where only a file or another recipe tells."""
    network = stage.network if isinstance(stage, TrainStage) else None
    if isinstance(stage, GivenStage) and stage.family in _STRIDES:
        network = NetworkSettings.model_validate({"family": stage.family})
    if network is not None:
        return Branches(network, _STRIDES[network.family]) if network.family in _STRIDES else None
    found = next((known.get(origin) for origin in origins(stage)), None)
    if found is not None and isinstance(stage, RemoveBranchStage):
        return replace(found, strides=tuple(stride for stride in found.strides if stride != stage.stride))
    return found


def branch_faults(stage: Stage, known: Mapping[str, Branches]) -> Iterator[str]:
    """A branch to remove that is not there, or is the last one; a teacher whose heads are not the student's."""
    if isinstance(stage, RemoveBranchStage) and stage.start in known:
        start = known[stage.start]
        if stage.stride not in start.strides or len(start.strides) == 1:
            yield f"stride = {stage.stride}: {stage.start} is {start}; one branch has to stay"
    if isinstance(stage, TrainStage | PruneWeightsStage) and stage.distillation is not None:
        name, student = stage.distillation.teacher, branches_of(stage, known)
        if student is not None and name in known and not student.taught_by(known[name]):
            yield f"distillation.teacher: {name} is {known[name]}, the student {student}: take one of the same heads"
