"""A small random network as a package, and photos for it in one folder per label."""

from pathlib import Path

import numpy as np
import onnx
from edgedet_runtime.manifest import InputSpec, Manifest, Provenance, SoftmaxDecoding, TensorSpec
from edgedet_runtime.package import Package, hash_files, write_package
from onnx import numpy_helper
from PIL import Image

from tests.unit.quantized_networks import SIDE, network

LABELS = ("a", "b", "c", "d", "e")


def small_package(models: Path, seed: int = 1, highest: int = 64) -> Package:
    """``models/small/1``, a classifier of five labels; `highest` bounds its weight codes."""
    return _packaged(models, network(seed, highest))


def digital_package(models: Path) -> Package:
    """The same without any weight: all of its layers stay digital."""
    model = network(1)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_weight_codes"):
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.int8), tensor.name))
    return _packaged(models, model)


def _packaged(models: Path, model: onnx.ModelProto) -> Package:
    contents = {"model.onnx": model.SerializeToString()}
    manifest = Manifest(
        name="small",
        version=1,
        task="classify",
        labels=LABELS,
        input=InputSpec(name="image", height=SIDE, width=SIDE, channels=4, resize="plain"),
        outputs=(TensorSpec(name="logits", shape=(1, len(LABELS)), dtype="float32"),),
        decoding=SoftmaxDecoding(tensor="logits", top_k=1),
        macs=1000,
        license="Apache-2.0",
        provenance=Provenance(recipe="tests", tool_version="0"),
        files=hash_files(contents),
    )
    return write_package(models / "small" / "1", manifest, contents)


def labeled_photos(folder: Path, per_label: int = 4) -> Path:
    """``folder/LABEL/N.png``, noise."""
    rng = np.random.default_rng(0)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(per_label):
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / label / f"{number}.png")
    return folder
