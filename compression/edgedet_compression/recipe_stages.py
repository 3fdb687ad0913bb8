"""The stages that a recipe may have: what each can be told."""

from typing import Annotated, Literal, Self

from edgedet_runtime.manifest import NAME_PATTERN
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from edgedet_compression.training.schedule import NotNegative, Schedule, Seed, Share

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]
Criterion = Literal["std-prune", "network-slimming", "l1-norm", "l2-norm", "geometric-median", "random"]
Augmentation = dict[str, JsonValue]
"""Fields of `DetectionAugmentation` or `ImageAugmentation` in `data.augmentation_settings`."""
Reference = Annotated[str, Field(min_length=1)]
"""A stage of this recipe, or RECIPE/STAGE of another one."""


class Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Distillation(Strict):
    """What a student learns from, beside the labels."""

    teacher: Reference
    weight: Positive
    """Of a detector's distance to its teacher's heads; of classifiers its share, 0…1, the labels have the rest."""
    temperature: Annotated[float, Field(ge=0.01, le=1000)] = 1.0
    """Of classifiers (Hinton et al. 2015)."""
    views: Annotated[int, Field(gt=0)] | None = None
    """Of classifiers: epochs after which the same augmented images come again, so that the teacher sees each once."""


class NetworkSettings(Strict):
    """A fresh network."""

    family: Literal["vgg16", "vgg19", "resnet20", "resnet32", "resnet56", "lenet", "yolov3", "yolov3-tiny"]
    anchors: tuple[tuple[Positive, Positive], ...] = ()
    """Of YOLO networks, in input pixels; without them those of COCO, scaled to the input."""


class _Stage(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class TrainStage(_Stage):
    """Trains a fresh network, or one of an earlier stage further."""

    kind: Literal["train"]
    network: NetworkSettings | None = None
    start: Reference | None = None
    schedule: Schedule
    augmentation: Augmentation = {}
    distillation: Distillation | None = None
    gamma_l1: NotNegative = 0.0
    """Penalty on the scaling factors of BatchNorm (S1.4)."""
    gamma_l2: NotNegative = 0.0
    clip_l2: NotNegative = 0.0
    """Penalty on the learned clips of PACT (S3.1)."""
    all_data: bool = False
    """Also the photos held out for validation: of a final run."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.network is None) == (self.start is None):
            raise ValueError("give either network (a fresh one) or start (of an earlier stage)")
        return self


class AverageStage(_Stage):
    """The mean of the weights of networks of one structure, such as the ends of cycles of one training.

    (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".) BatchNorm's statistics
    are those of the mean on one epoch of images, shown as a training would, in bf16 where the processor has it.
    """

    kind: Literal["average"]
    networks: Annotated[tuple[Reference, ...], Field(min_length=2)]
    batch: Annotated[int, Field(gt=0)]
    """Photos looked at together."""
    augmentation: Augmentation = {}
    all_data: bool = False
    """Also the photos held out for validation: of a final run."""

    @property
    def as_training(self) -> TrainStage:
        """A training of one epoch that would show the same images."""
        return TrainStage(
            name=self.name,
            kind="train",
            start=self.networks[0],
            schedule=Schedule(epochs=1, batch=self.batch, lr=1.0),
            augmentation=self.augmentation,
            all_data=self.all_data,
        )


class GivenStage(_Stage):
    """A network that is there already: one that others trained, or the `network.sparse` of a run."""

    kind: Literal["given"]
    family: Literal["cifar-resnet", "lenet", "yolov3", "yolov3-tiny", "sparse"]
    """Whose files: github.com/akamaster/pytorch_resnet_cifar10's (any depth), a state dict of our LeNet's names,
    Darknet's .weights (heads begin fresh for other classes, or a size other than 416), or any `network.sparse`."""
    weights: Annotated[str, Field(pattern=r"^([^/]+/[^/]+|/.+)$")]
    """FOLDER/FILE below EDGEDET_DATA/weights or in the cache that `fetch` fills, or an absolute path."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the file: another content is refused."""
    epochs: Annotated[int, Field(ge=0)] = 0
    """That its training has shown, where it was one of these photos: trainings after it show others."""


class RemoveBranchStage(_Stage):
    """Takes a branch out of a YOLO network (S1.1)."""

    kind: Literal["remove-branch"]
    start: Reference
    stride: Literal[8, 16, 32] = 32


class FreshCopyStage(_Stage):
    """The same structure with weights that know nothing: an ablation."""

    kind: Literal["fresh-copy"]
    start: Reference
    seed: Seed = 0


class PruneChannelsStage(_Stage):
    """Takes channels out and rebuilds the network dense (S1.4)."""

    kind: Literal["prune-channels"]
    start: Reference
    criterion: Criterion = "std-prune"
    parameters: Annotated[int, Field(gt=0)] | None = None
    macs: Annotated[int, Field(gt=0)] | None = None
    """At most this many parameters, and MACs of one image at the size of `[data]`, are left, …"""
    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """… or this share of all channels goes, up to rounding and what the floor keeps."""
    charge_parameters: bool = False
    """Whether, of parameters alone, channels of layers that have many go first, and the first layers stay wide."""
    floor: Share = 0.1
    """Share of a layer's channels that stays in any case."""
    seed: Seed = 0
    """Of random scores."""

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.parameters is None and self.macs is None) == (self.share is None):
            raise ValueError(
                "give parameters, macs or both (that are left at most), or share (of channels that go) in their place"
            )
        if self.charge_parameters and (self.parameters is None or self.macs is not None):
            raise ValueError("charge_parameters is of a limit of parameters alone: give parameters, and no macs")
        return self


class QuantizeStage(_Stage):
    """Puts 4-bit quantizers into a float network, first and last layer included (S3.1); train it further after that."""

    kind: Literal["quantize"]
    start: Reference
    weights: Literal["lsq", "tqt"] = "lsq"
    activations: Literal["lsq", "pact"] = "lsq"
    scales: Literal["channel", "layer"] = "channel"
    """Of weights (S3.2)."""


class PruneWeightsStage(_Stage):
    """Zeros weights (S0.3) and fine-tunes what is left: in rounds, or at once (the baselines)."""

    kind: Literal["prune-weights"]
    start: Reference
    method: Literal["dynamic-percentage", "fixed-threshold", "sigma-multiple", "one-shot"] = "dynamic-percentage"
    sparsity: Annotated[float, Field(gt=0, lt=1)]
    rounds: Annotated[int, Field(gt=0)] = 1
    """As planned; only of dynamic-percentage, the others prune once."""
    tolerance: NotNegative = 0.005
    """A round after which the validation figure is further below the dense network's is taken back."""
    spared: Literal["none", "first", "last", "first and last"] = "none"
    """Layers that keep all their weights; of a YOLO network all that compute head maps are the last."""
    schedule: Schedule
    """Of the fine-tuning of each round."""
    augmentation: Augmentation = {}
    distillation: Distillation | None = None
    all_data: bool = False
    """Also the photos held out for validation: of a final run, whose rounds go as planned; none is taken back."""

    @model_validator(mode="after")
    def _rounds_are_of_one_method(self) -> Self:
        if self.method != "dynamic-percentage" and self.rounds > 1:
            raise ValueError(f"rounds = {self.rounds}: {self.method} prunes once; take it out")
        return self


class SensitivityStage(_Stage):
    """Zeros the smallest weights of each layer alone and validates: which layers bear pruning (S0.3)."""

    kind: Literal["sensitivity"]
    start: Reference
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1)] = (0.5, 0.8, 0.9, 0.95, 0.98)


class EvaluateStage(_Stage):
    """Accuracy on the test split, read once, with paired intervals against a baseline."""

    kind: Literal["evaluate"]
    networks: tuple[Reference, ...] = ()
    packages: tuple[Reference, ...] = ()
    """Export stages, whose int8 packages are measured beside the networks."""
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
        if len({*self.strides}) < len(self.strides):
            raise ValueError("strides has one of them twice")
        return self


class ExportStage(_Stage):
    """An int8 package of a float network, or a 4-bit one of a network with quantizers."""

    kind: Literal["export"]
    start: Reference
    package: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: str
    license: str
    size: Annotated[int, Field(gt=0)] | None = None
    """Side of a detector's input; else that of training."""
    baseline: Reference | None = None
    """Of a 4-bit package: the float network that its accuracy is measured beside."""

    def baseline_fault(self, *, low_bit: bool) -> str | None:
        """What is wrong with `baseline` where the network has 4 bits, or has not."""
        if low_bit == (self.baseline is not None):
            return None
        return f"baseline names the float network beside a 4-bit one; {self.start} " + (
            "has 4 bits: give it" if low_bit else "is measured beside itself: take baseline out"
        )


Stage = Annotated[
    TrainStage
    | AverageStage
    | GivenStage
    | RemoveBranchStage
    | FreshCopyStage
    | PruneChannelsStage
    | QuantizeStage
    | PruneWeightsStage
    | SensitivityStage
    | EvaluateStage
    | BranchReportStage
    | ExportStage,
    Field(discriminator="kind"),
]


def origins(stage: Stage) -> tuple[Reference, ...]:
    """The stages whose networks this one goes on with."""
    if isinstance(stage, AverageStage):
        return stage.networks
    start = getattr(stage, "start", None)
    return (start,) if start else ()


def references(stage: Stage) -> tuple[Reference, ...]:
    """What a stage reads."""
    found: list[Reference] = [*origins(stage)]
    if isinstance(stage, EvaluateStage):
        found += [*stage.networks, *stage.packages, stage.baseline]
    elif isinstance(stage, BranchReportStage):
        found += [stage.teacher, *stage.variants]
    if isinstance(stage, TrainStage | PruneWeightsStage) and stage.distillation is not None:
        found.append(stage.distillation.teacher)
    if isinstance(stage, ExportStage) and stage.baseline is not None:
        found.append(stage.baseline)
    return tuple(dict.fromkeys(found))
