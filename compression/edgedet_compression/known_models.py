"""The models that `edgedet-compress build NAME` knows, each with all its choices in one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from edgedet_evaluation.answering import as_photo
from edgedet_evaluation.cifar10 import LABELS as CIFAR10_LABELS
from edgedet_evaluation.cifar10 import read_cifar10
from edgedet_evaluation.coco import read_coco
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec, Metric

from edgedet_compression.accuracy import Measured, classification_metrics, detection_metrics
from edgedet_compression.errors import BuildRefused
from edgedet_compression.float_baseline import Anchors
from edgedet_compression.networks.darknet import read_darknet
from edgedet_compression.networks.resnet_cifar import MEAN, STD, read_resnet_cifar
from edgedet_compression.photo_folder import photo_files, read_inputs
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.sources import YOLOV3_TINY, checked, find_data_set, find_fetched, find_weights, folder_sha256

Photos = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class FloatModel:
    """What a package is made from: float ONNX, the meaning of its outputs, its labels."""

    model: onnx.ModelProto
    anchors: Anchors
    labels: tuple[str, ...]
    parent: str


@dataclass(frozen=True)
class CalibrationSet:
    """Inputs as the network gets them, and which data they are."""

    photos: Photos
    data: str


@dataclass(frozen=True)
class KnownModel:
    """One model: where it comes from, what it sees, how it is calibrated, what its accuracy is measured on."""

    name: str
    description: str
    license: str
    input: InputSpec
    normalization: Normalization
    seed: int
    load: Callable[[Path], FloatModel]
    calibration: Callable[[Path, InputSpec, int], CalibrationSet]
    accuracy: Callable[[Path, Measured], Sequence[Metric]]


# The .cfg that travels with the weights says mask 0,1,2 for the 26 x 26 head; the weights were trained with 1,2,3
# (mAP50 on coco-mini/val2017: 0.287 with the former, 0.418 with the latter).
_YOLOV3_TINY_MASKS = {16: (1, 2, 3)}
_RESNET20_SHA256 = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"
_CIFAR10_CALIBRATION_IMAGES = 512


def known_model(name: str, advice: str = "for a network of your own give --onnx") -> KnownModel:
    """A known model by its package's name.

    Raises:
        BuildRefused: no such model; the message lists those that are.
    """
    for model in KNOWN_MODELS:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in KNOWN_MODELS)
    raise BuildRefused(f"no known model {name!r}; there are: {known}; {advice}")


def _load_yolov3_tiny(data: Path) -> FloatModel:
    weights, cfg, names = (find_fetched(data, YOLOV3_TINY, file) for file in YOLOV3_TINY.files)
    network = read_darknet(cfg, weights, _YOLOV3_TINY_MASKS)
    return FloatModel(
        model=network.model,
        anchors=tuple(head.anchors for head in network.heads),
        labels=tuple(names.read_text(encoding="utf-8").split("\n")[:80]),
        parent=f"{weights.name}, sha256 {YOLOV3_TINY.files[0].sha256}",
    )


def _load_resnet20(data: Path) -> FloatModel:
    weights = checked(find_weights(data, "resnet-cifar10", "resnet20-12fca82f.th"), _RESNET20_SHA256)
    return FloatModel(
        model=read_resnet_cifar(weights),
        anchors=(),
        labels=CIFAR10_LABELS,
        parent=f"{weights.name}, sha256 {_RESNET20_SHA256}",
    )


def _coco_train(data: Path, source: InputSpec, seed: int) -> CalibrationSet:  # noqa: ARG001 - takes all photos, up to 500
    files = photo_files(data / "coco-mini" / "train2017")
    name = f"coco-mini/train2017, {len(files)} photos, sha256 {folder_sha256(files)}"
    return CalibrationSet(read_inputs(files, source), name)


def _coco_val(data: Path, measured: Measured) -> Sequence[Metric]:
    folder = data / "coco-mini"
    dataset = read_coco(folder / "annotations" / "instances_val2017.json", folder / "val2017", "coco-mini/val2017")
    return detection_metrics(dataset, measured)


def _cifar10_train(data: Path, source: InputSpec, seed: int) -> CalibrationSet:
    split = read_cifar10(find_data_set(data, "cifar10"), "train")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:_CIFAR10_CALIBRATION_IMAGES])
    photos = [to_input(as_photo(split.images[index]), source)[0] for index in chosen]
    name = f"{split.name}, {len(chosen)} of {len(split)} images chosen by seed {seed}, sha256 of all {split.sha256}"
    return CalibrationSet(photos, name)


def _cifar10_test(data: Path, measured: Measured) -> Sequence[Metric]:
    return classification_metrics(read_cifar10(find_data_set(data, "cifar10"), "test"), measured)


KNOWN_MODELS = (
    KnownModel(
        name="yolov3-tiny-coco",
        description="YOLOv3-tiny (Redmon & Farhadi 2018) for the 80 COCO labels, int8.",
        license="Darknet YOLO license (public domain style)",
        input=InputSpec(name="image", height=416, width=416, channels=4),
        normalization=Normalization(),
        seed=0,
        load=_load_yolov3_tiny,
        calibration=_coco_train,
        accuracy=_coco_val,
    ),
    KnownModel(
        name="resnet20-cifar10",
        description="ResNet-20 (He et al. 2015) for the 10 labels of CIFAR-10, int8.",
        license="BSD 2-Clause (weights: github.com/akamaster/pytorch_resnet_cifar10)",
        input=InputSpec(name="image", height=32, width=32, channels=4, resize="plain", filter="area"),
        normalization=Normalization(MEAN, STD),
        seed=0,
        load=_load_resnet20,
        calibration=_cifar10_train,
        accuracy=_cifar10_test,
    ),
)
