"""Trained networks as packages: quantized, verified, measured beside the float network, told where they come from."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from edgedet_compression.accuracy import classification_metrics, detection_metrics
from edgedet_compression.building import Target, Trained, build_trained
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.torch_onnx import float_model
from edgedet_compression.known_models import CalibrationSet
from edgedet_compression.photo_folder import read_inputs
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_evaluation.cifar10 import LabeledImages
from edgedet_evaluation.coco import CocoDataset, CocoPhoto
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.package import load_package

from tests.unit.compression.prunable_networks import IMAGE, small_vgg, small_yolo

pytestmark = pytest.mark.needs_torch

LABELS = ("ant", "bee", "cat")
INPUT = InputSpec(name="image", height=16, width=16, channels=4)


def drawn_dataset(files: list[Path]) -> CocoDataset:
    """One box a photo."""
    photos = tuple(CocoPhoto(number, file) for number, file in enumerate(files, start=1))
    categories = tuple(enumerate(LABELS, start=1))
    content = {
        "images": [{"id": photo.id, "file_name": photo.file.name} for photo in photos],
        "categories": [{"id": place, "name": name} for place, name in categories],
        "annotations": [
            {"id": photo.id, "image_id": photo.id, "category_id": 1 + photo.id % 3, "bbox": [20, 20, 200, 200],
             "area": 40_000, "iscrowd": 0}
            for photo in photos
        ],
    }  # fmt: skip
    return CocoDataset("drawn/test", photos, categories, content, "0" * 64)


def trained(network: torch.nn.Module, labels, calibration: list[Path], accuracy) -> Trained:
    return Trained(
        source=float_model(network, labels, IMAGE, "run cells, stage train"),
        input=INPUT,
        normalization=Normalization(),
        calibration=CalibrationSet(read_inputs(calibration, INPUT), "four photos"),
        accuracy=accuracy,
        command="edgedet-compress run cells",
        description="Cells.",
        license="MIT",
        seed=3,
        data=("training: drawn/train",),
    )


def test_a_detector_becomes_a_package_with_its_accuracy_and_its_origin(tmp_path: Path, sample_photos: list[Path]):
    accuracy = partial(detection_metrics, drawn_dataset(sample_photos[4:7]))
    built = build_trained(trained(small_yolo(), LABELS, sample_photos[:4], accuracy), Target(tmp_path, "cells"))
    manifest = load_package(tmp_path / "cells" / "1").manifest
    assert built.manifest == manifest
    assert manifest.task == "detect"
    assert [metric.name for metric in manifest.metrics] == [
        f"{figure}, {which}" for figure in ("mAP50", "mAP50-95") for which in ("fp32", "int8", "int8 − fp32")
    ]
    assert all(metric.command == "edgedet-compress run cells" for metric in manifest.metrics)
    assert manifest.provenance.recipe == "edgedet-compress run cells"
    assert manifest.provenance.parent == "run cells, stage train"
    assert manifest.provenance.data == ("training: drawn/train", "calibration: four photos")
    assert manifest.provenance.seed == 3
    assert [head.stride for head in manifest.decoding.heads] == [4, 2]


def test_a_classifier_answers_as_its_float_network_does(tmp_path: Path, sample_photos: list[Path]):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    network = small_vgg()
    with torch.no_grad():
        floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        best = network(floats).argmax(1).numpy()
    accuracy = partial(classification_metrics, LabeledImages("drawn", images, best))
    labels = (*LABELS, "dog")
    plain = {"resize": "plain", "filter": "area"}
    source = trained(network, labels, sample_photos, accuracy)
    built = build_trained(replace(source, input=INPUT.model_copy(update=plain)), Target(tmp_path, "tiny-classifier"))
    figures = {metric.name: metric.value for metric in built.manifest.metrics}
    assert figures["top-1, fp32"] == 1
    assert figures["top-1, int8"] >= 0.9


def test_nothing_is_measured_where_a_version_exists(tmp_path: Path, sample_photos: list[Path]):
    def never(_):
        raise AssertionError

    (tmp_path / "cells" / "1").mkdir(parents=True)
    with pytest.raises(BuildRefused, match="versions are immutable"):
        build_trained(trained(small_yolo(), LABELS, sample_photos[:1], never), Target(tmp_path, "cells"))
    assert list((tmp_path / "cells").iterdir()) == [tmp_path / "cells" / "1"]
