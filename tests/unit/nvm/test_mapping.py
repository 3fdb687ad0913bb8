"""Weights become cells: slices and planes hold every code, tiles hold every weight once, arrays every tile."""

import numpy as np
import pytest
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.slices import Slices
from edgedet_nvm.errors import MappingRefused
from edgedet_nvm.mapping import Arrays, map_network
from edgedet_nvm.placement import place, report
from edgedet_nvm.sidecar import preset_arrays
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.package import load_package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import load_network
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.unit.quantized_networks import network

SLICES = Slicing.differential(15, 7)


@pytest.mark.parametrize(
    "slicing",
    [SLICES, Slicing.differential(15, 4), Slicing.differential(127), Slicing.differential(3, 3, 3, 1),
     Slicing.twos_complement(8)],
)  # fmt: skip
def test_planes_times_factors_are_the_codes_and_no_cell_exceeds_its_levels(slicing: Slicing):
    lowest, highest = slicing.span
    codes = np.arange(max(lowest, -128), min(highest, 127) + 1).astype(np.int8)
    planes = slicing.planes(codes)
    np.testing.assert_array_equal(np.array(slicing.factors) @ planes, codes)
    assert (np.abs(planes).max(axis=1) <= slicing.highest_levels).all()
    assert slicing.paired or planes.min() == 0


def test_eight_bits_take_four_cells_in_pairs_of_slices_and_eight_in_twos_complement():
    assert SLICES.cells_per_weight == 4
    assert Slicing.twos_complement(8).cells_per_weight == 8
    assert Slicing.twos_complement(8).span == (-128, 127)


def test_codes_that_do_not_fit_are_refused_with_the_fix():
    with pytest.raises(MappingRefused, match=r"holds codes -7…7, the weights reach -7…8; take more levels"):
        Slicing.differential(7).planes(np.array([-7, 8], np.int8))


@settings(max_examples=20)
@given(rows=st.integers(1, 700), channels=st.integers(4, 24), cut=st.sampled_from(["channels", "kernel"]))
def test_every_weight_lies_in_exactly_one_tile_and_no_tile_is_too_tall(rows: int, channels: int, cut: str):
    graph = read_quantized_graph(network(1, channels=channels))
    for mapped in map_network(graph, Arrays(rows, 512, SLICES, cut=cut)).layers:
        assert (mapped.tile_cells.sum(axis=0) == 1).all()
        assert max(mapped.rows) <= rows
        assert sum(mapped.rows) == mapped.planes[0, 0].size
        assert min(mapped.rows) > 0


def test_tiles_are_the_fewest_equal_blocks_of_channels_that_fit():
    graph = read_quantized_graph(network(1, channels=12))
    layers = {layer.name: layer for layer in map_network(graph, Arrays(40, 512, SLICES)).layers}
    assert layers["inner"].rows == (36, 36, 36)  # 12 channels · 9: four would fit 40 rows
    assert layers["inner"].cuts_channels
    by_kernel = {layer.name: layer for layer in map_network(graph, Arrays(40, 512, SLICES, cut="kernel")).layers}
    assert by_kernel["inner"].rows == (36, 36, 36)  # three positions of 12 channels
    assert not by_kernel["inner"].cuts_channels


@pytest.mark.parametrize(("lowest", "bits"), [(-7, 4), (-8, 4), (-9, 5), (-128, 8)])
def test_planes_of_twos_complement_are_no_more_than_the_lowest_code_needs(lowest: int, bits: int):
    model, preset = network(1, highest=7), load_preset("nor-flash-65nm")
    codes = next(tensor for tensor in model.graph.initializer if tensor.name == "stem_weight_codes")
    changed = numpy_helper.to_array(codes).copy()
    changed[0, 0, 0, 0] = lowest
    codes.CopyFrom(numpy_helper.from_array(changed, codes.name))
    single = preset.model_copy(update={"slices": Slices(signs="twos-complement", bits_per_cell=1)})
    arrays = preset_arrays(read_quantized_graph(model), single, "channels")
    assert arrays.slicing == Slicing.twos_complement(bits)
    assert (arrays.slicing.planes(changed)[-1] == (changed < 0)).all()


def test_layers_that_stay_digital_say_why(models):
    model = load_network(load_package(models / "resnet20-cifar10" / "1").path("model.onnx"))
    mapping = map_network(read_quantized_graph(model), Arrays(576, 256, SLICES))
    assert {layer.name for layer in mapping.digital} == {"layer2_0_shortcut_value", "layer3_0_shortcut_value"}
    assert "only moves codes" in mapping.digital[0].reason
    assert len(mapping.layers) == 20
    grouped = map_network(read_quantized_graph(network(2, group=2)), Arrays(36, 256, SLICES)).digital
    assert [layer.name for layer in grouped] == ["grouped"]
    assert "72 rows of a group exceed the tile's 36" in grouped[0].reason


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("inner", 576, (306, 297)),  # 67 channels · 9, and 67 is a prime: 34 and 33 channels
        ("logits", 32, (23, 22, 22)),  # 67 inputs of a fully connected layer
        ("mixed", 100, (67, 67)),  # 134 channels halve
    ],
)
@pytest.mark.parametrize("cut", ["channels", "kernel"])
def test_channels_without_a_fitting_divisor_become_few_uneven_tiles(
    name: str, rows: int, expected: tuple[int, ...], cut: str
):
    graph = read_quantized_graph(network(1, channels=67))
    layers = {layer.name: layer for layer in map_network(graph, Arrays(rows, 512, SLICES, cut=cut)).layers}
    if cut == "kernel" and name == "inner":
        expected = (8 * 67, 67)  # eight positions of all channels, and the ninth
    assert sorted(layers[name].rows, reverse=True) == list(expected)


def test_weights_without_a_name_are_refused():
    model = network(3)
    next(node for node in model.graph.node if node.name == "mixed").name = "inner"
    with pytest.raises(MappingRefused, match="'inner': mapped layers need names of their own"):
        map_network(read_quantized_graph(model), Arrays(36, 256, SLICES))


def test_arrays_too_small_for_a_weight_are_refused():
    with pytest.raises(MappingRefused, match="hold no weight; one needs 1 row and 4 columns"):
        Arrays(576, 3, SLICES)


def test_blocks_fill_arrays_without_overlap_and_hold_every_column():
    mapping = map_network(read_quantized_graph(network(4)), Arrays(36, 50, SLICES))
    taken = np.zeros((100, 50), bool)
    for block in place(mapping):
        columns = slice(block.first_column, block.first_column + block.columns)
        assert not taken[block.array, columns].any()
        taken[block.array, columns] = True
        assert block.columns % 4 == 0
    for mapped in mapping.layers:
        own = [block for block in place(mapping) if block.layer == mapped.name]
        assert sum(block.columns for block in own) == mapped.tiles * mapped.outputs * 4
    figures = report(mapping)
    assert figures.arrays == int(taken.any(axis=1).sum())
    assert 0 < figures.utilization <= 1
    assert sum(layer.cells for layer in figures.layers) == sum(4 * mapped.planes[0].size for mapped in mapping.layers)
    strided = next(layer for layer in figures.layers if layer.layer == "strided")
    assert strided.conversions == 2 * strided.tiles * 16 * 3 * 3
