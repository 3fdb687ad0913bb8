"""The committed packages are the same networks on ideal arrays, layer by layer; a wrong mapping is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm.check import check_network
from edgedet_nvm.mapping import Arrays, map_network
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.chain import load_segments
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import load_network

from tests.unit.nvm.arrays_at_work import digital_outputs
from tests.unit.nvm.quantized_networks import network, photo

SLICES = Slicing.differential(15, 7)


def prepared(source: InputSpec, photos: list[Path]) -> list[dict[str, np.ndarray]]:
    return [{source.name: to_input(decode_photo(file.read_bytes()), source)[0]} for file in photos]


@pytest.mark.parametrize(
    "arrays",
    [
        Arrays(576, 256, SLICES),
        Arrays(144, 256, Slicing.twos_complement(8), pulse_bits=4),
        Arrays(100, 256, Slicing.differential(64), cut="kernel"),
    ],
)
def test_resnet20_is_the_same_network_on_ideal_arrays(models: Path, sample_photos: list[Path], arrays: Arrays):
    package = load_package(models / "resnet20-cifar10" / "1")
    model = load_network(package.path("model.onnx"))
    mapping = map_network(read_quantized_graph(model), arrays)
    rows = check_network(model, mapping, prepared(package.manifest.input, sample_photos[:2]))
    assert all(row.is_equal for row in rows)
    assert sum(row.mapped for row in rows) == 20
    assert sum(row.codes for row in rows) > 500_000


def test_every_segment_of_yolov3_tiny_is_the_same_on_ideal_arrays(models: Path, sample_photos: list[Path]):
    package = load_package(models / "yolov3-tiny-coco" / "1")
    live = prepared(package.manifest.input, sample_photos[:1])[0]
    mapped = 0
    for segment in load_segments(package):
        graph = read_quantized_graph(segment.model)
        feeds = {spec.name: live[spec.name] for spec in segment.inputs}
        if any(layer.weights for layer in graph.layers):
            mapping = map_network(graph, Arrays(576, 256, SLICES))
            rows = check_network(segment.model, mapping, [feeds])
            assert all(row.is_equal for row in rows)
            mapped += sum(row.mapped for row in rows)
        live |= digital_outputs(segment.model, feeds)
    assert mapped == 13


def test_a_weight_in_the_wrong_cell_is_told_by_the_layer_and_those_behind_it():
    model = network(1)
    mapping = map_network(read_quantized_graph(model), Arrays(36, 256, SLICES))
    wrong = [replace(m, planes=m.planes[:, ::-1]) if m.name == "inner" else m for m in mapping.layers]
    rows = {row.layer: row for row in check_network(model, replace(mapping, layers=tuple(wrong)), [{"image": photo(1)}])}
    assert rows["stem"].is_equal
    assert rows["inner"].oracle_differs > 0
    assert rows["inner"].compiled_differs == rows["inner"].oracle_differs
    assert not rows["logits"].is_equal
