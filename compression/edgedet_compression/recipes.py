"""The models that `edgedet-compress build NAME` knows, each with all its choices in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from edgedet_compression.errors import BuildRefused, SourceMissing
from edgedet_compression.networks.darknet import read_darknet
from edgedet_compression.networks.resnet_cifar import MEAN, STD, read_resnet_cifar
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.sources import checked, find_weights, folder_sha256
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import decode_photo

Anchors = tuple[tuple[tuple[float, float], ...], ...]
Photos = list[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class FloatModel:
    """What a recipe starts from: float ONNX, the meaning of its outputs, its labels."""

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
class Recipe:
    """One model: where it comes from, what it sees, how it is calibrated."""

    name: str
    description: str
    license: str
    input: InputSpec
    normalization: Normalization
    seed: int
    load: Callable[[Path], FloatModel]
    calibration: Callable[[Path, InputSpec, int], CalibrationSet]


# The .cfg that travels with the weights says mask 0,1,2 for the 26 x 26 head; the weights were trained with 1,2,3
# (mAP50 on coco-mini/val2017: 0.287 with the former, 0.418 with the latter).
_YOLOV3_TINY_MASKS = {16: (1, 2, 3)}
_YOLOV3_TINY_SHA256 = "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c"
_RESNET20_SHA256 = "12fca82f9c03de5c0ba0a52c3ae4b1d0e7a7d5a1"
_CIFAR10_CALIBRATION_IMAGES = 512


def recipe_named(name: str) -> Recipe:
    """A recipe by its package's name.

    Raises:
        BuildRefused: no such recipe; the message lists those that are.
    """
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    known = ", ".join(recipe.name for recipe in RECIPES)
    raise BuildRefused(f"no recipe {name!r}; there are: {known}. For a network of your own give --onnx.")


def _load_yolov3_tiny(data: Path) -> FloatModel:
    folder = data / "weights" / "yolov3-tiny"
    names = folder / "coco.names"
    if not names.is_file():
        raise SourceMissing(f"no labels at {names}")
    weights = find_weights(data, "yolov3-tiny", "yolov3-tiny.weights", "yolov3-tiny")
    network = read_darknet(folder / "yolov3-tiny.cfg", checked(weights, _YOLOV3_TINY_SHA256), _YOLOV3_TINY_MASKS)
    return FloatModel(
        model=network.model,
        anchors=tuple(head.anchors for head in network.heads),
        labels=tuple(names.read_text(encoding="utf-8").split("\n")[:80]),
        parent=f"yolov3-tiny.weights, sha256 {_YOLOV3_TINY_SHA256}",
    )


def _load_resnet20(data: Path) -> FloatModel:
    weights = find_weights(data, "resnet-cifar10", "resnet20-12fca82f.th")
    return FloatModel(
        model=read_resnet_cifar(weights),
        anchors=(),
        labels=tuple((data / "cifar10" / "classes.txt").read_text(encoding="utf-8").split()),
        parent=f"{weights.name}, sha256 {folder_sha256([weights])}",
    )


def read_photos(files: list[Path], source: InputSpec) -> Photos:
    """Decode photos and bring them to the network's input."""
    return [to_input(decode_photo(path.read_bytes()), source)[0] for path in files]


def photo_files(folder: Path) -> list[Path]:
    """The JPEG and PNG files of a folder, by name.

    Raises:
        SourceMissing: there is none.
    """
    kinds = {".jpg", ".jpeg", ".png"}
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in kinds)
    if not found:
        raise SourceMissing(f"no .jpg or .png photo in {folder}")
    return found


def _coco_train(data: Path, source: InputSpec, seed: int) -> CalibrationSet:  # noqa: ARG001 - takes all photos
    files = photo_files(data / "coco-mini" / "train2017")
    name = f"coco-mini/train2017, {len(files)} photos, sha256 {folder_sha256(files)}"
    return CalibrationSet(read_photos(files, source), name)
