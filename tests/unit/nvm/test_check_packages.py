"""The committed packages are the same networks on ideal arrays, layer by layer; a wrong mapping is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgedet_nvm.calibration import calibrate
from edgedet_nvm.cells import LayerPlan, target_cells
from edgedet_nvm.check import check_network
from edgedet_nvm.compile import compile_network
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.mapping import Arrays, map_network
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.sidecar import map_package
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.package import load_package
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import cut, load_network

from tests.unit.nvm.arrays_at_work import assert_equals_oracle, digital_outputs
from tests.unit.quantized_networks import network, photo

SLICES = Slicing.differential(15, 7)


def prepared(source: InputSpec, photos: list[Path]) -> list[dict[str, np.ndarray]]:
    return [{source.name: to_input(decode_photo(file.read_bytes()), source)[0]} for file in photos]


@pytest.mark.parametrize(
    "arrays",
    [
        Arrays(576, 256, SLICES),
        Arrays(144, 256, Slicing.differential(64), pulse_bits=4, cut="kernel"),
    ],
)
def test_resnet20_is_the_same_network_on_ideal_arrays(models: Path, sample_photos: list[Path], arrays: Arrays):
    package = load_package(models / "resnet20-cifar10" / "1")
    model = load_network(package.path("model.onnx"))
    mapping = map_network(read_quantized_graph(model), arrays)
    rows = check_network(model, mapping, prepared(package.manifest.input, sample_photos[:1]))
    assert all(row.is_equal for row in rows)
    assert sum(row.mapped for row in rows) == 20
    assert sum(row.codes for row in rows) > 200_000


@pytest.mark.parametrize(("name", "layers"), [("small-lenet-w4a4-mnist", 5), ("resnet20-w4a4-cifar10", 20)])
def test_networks_of_4_bits_are_the_same_on_ideal_arrays(
    models: Path, sample_photos: list[Path], name: str, layers: int
):
    package = load_package(models / name / "1")
    mapping = map_package(package, load_preset("nor-flash-65nm"), "channels")
    feeds = prepared(package.manifest.input, sample_photos[:1])
    rows = check_network(load_network(package.path("model.onnx")), mapping, feeds)
    assert all(row.is_equal for row in rows)
    assert sum(row.mapped for row in rows) == layers


@pytest.mark.timeout(600)
def test_yolov3_tiny_on_a_crop_is_the_same_network_on_ideal_arrays(models: Path, sample_photos: list[Path]):
    model, feeds = yolov3_tiny_crop(models, sample_photos[0])
    mapping = map_network(read_quantized_graph(model), Arrays(576, 256, SLICES))
    rows = check_network(model, mapping, [feeds])
    assert all(row.is_equal for row in rows)
    assert sum(row.mapped for row in rows) == 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("form", "pulse_bits"), [("int8", 8), ("float32", 4)])
def test_yolov3_tiny_on_a_crop_with_converters_and_noise_gives_the_oracles_codes(
    models: Path, sample_photos: list[Path], form: str, pulse_bits: int
):
    model, feeds = yolov3_tiny_crop(models, sample_photos[0])
    layers = map_network(read_quantized_graph(model), Arrays(576, 256, SLICES, pulse_bits)).layers
    ranges = calibrate(model, layers, 6, "mean-4-sigma", [feeds])
    plans = {}
    for mapped in layers:
        cells = target_cells(mapped)
        noisy = replace(cells, read_variance=np.array([0.01, 0.02])) if form == "float32" else cells
        plans[mapped.name] = LayerPlan(mapped, ranges.of(mapped.name), noisy)
    compiled = compile_network(model, plans)
    assert set(compiled.forms.values()) == {form}
    noise = network_noise(b"photo", 0, compiled.noise)
    found = assert_equals_oracle(compiled, model, plans, feeds["pool1"], noise)
    assert found["head_16"].std() > 0


def yolov3_tiny_crop(models: Path, file: Path) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """All but the first convolution on 32 × 32 of their 208 × 208 pixels, and the codes that a photo brings there."""
    package = load_package(models / "yolov3-tiny-coco" / "1")
    manifest = package.manifest
    network = load_network(package.path("model.onnx"))
    head, tail = cut(network, manifest.input, manifest.boundaries[:1], manifest.outputs)
    codes = digital_outputs(head.model, prepared(manifest.input, [file])[0])["pool1"]
    sides = {"pool1": 32, "head_32": 2, "head_16": 4}
    for value in (*tail.model.graph.input, *tail.model.graph.output):
        for axis in (1, 2):
            value.type.tensor_type.shape.dim[axis].dim_value = sides[value.name]
    return tail.model, {"pool1": np.ascontiguousarray(codes[:, 90:122, 90:122])}


def test_a_weight_in_the_wrong_cell_is_told_by_the_layer_and_those_behind_it():
    model = network(1)
    mapping = map_network(read_quantized_graph(model), Arrays(36, 256, SLICES))
    wrong = [replace(m, planes=m.planes[:, ::-1]) if m.name == "inner" else m for m in mapping.layers]
    checks = check_network(model, replace(mapping, layers=tuple(wrong)), [{"image": photo(1)}])
    rows = {check.layer: check for check in checks}
    assert rows["stem"].is_equal
    assert rows["inner"].oracle_differs > 0
    assert rows["inner"].compiled_differs == rows["inner"].oracle_differs
    assert not rows["logits"].is_equal
