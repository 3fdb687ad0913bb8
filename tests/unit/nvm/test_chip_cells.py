"""A layer's cells on one chip: behind a crossbar's wires, behind NOR wires at mean inputs, and of 4-bit networks."""

import numpy as np
import onnx
import pytest
from edgedet_nvm.calibration import calibrate
from edgedet_nvm.cells import LayerPlan, target_cells
from edgedet_nvm.check import check_network
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.compile import compile_network
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.ir_drop import Wires
from edgedet_nvm.device.preset import Preset, load_preset
from edgedet_nvm.device.spread import RelativeSpread
from edgedet_nvm.layer_activity import LayerCounter
from edgedet_nvm.mapping import MappedLayer, NetworkMapping, map_network
from edgedet_nvm.mean_inputs import find_mean_inputs
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.sidecar import preset_arrays
from edgedet_runtime.quantized_graph import read_quantized_graph
from onnx import numpy_helper

from tests.unit.nvm.arrays_at_work import assert_equals_oracle
from tests.unit.quantized_networks import network, photo

SONOS, NOR = load_preset("sonos-40nm"), load_preset("nor-flash-65nm")
WIRES = Wires(topology="crossbar", word_line_ohm=1.9, bit_line_ohm=1.9, source_line_ohm=0.0)
CROSSBAR = SONOS.model_copy(update={"wires": WIRES})
CASES = {"crossbar": (CROSSBAR, False), "exact": (SONOS, True), "mean inputs": (NOR, False)}


def mapped_on(model: onnx.ModelProto, preset: Preset) -> NetworkMapping:
    graph = read_quantized_graph(model)
    return map_network(graph, preset_arrays(graph, preset, "channels"))


def plans_of(model: onnx.ModelProto, preset: Preset, image: np.ndarray, *, exact: bool) -> dict[str, LayerPlan]:
    layers, feeds = mapped_on(model, preset).layers, [{"image": image}]
    assert preset.adc is not None
    ranges = calibrate(model, layers, preset.adc.bits, "min-max", feeds)
    means = find_mean_inputs(model, layers, feeds)
    chip = Chip(preset, 1)
    return {
        m.name: LayerPlan(
            m, ranges.of(m.name), chip_cells(m, chip, preset.tile.columns, None if exact else means[m.name])
        )
        for m in layers
    }


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_compiled_network_gives_the_oracles_codes_behind_every_kind_of_wire(case: str, group: int):
    preset, exact = CASES[case]
    model = network(seed=3, group=group)
    plans = plans_of(model, preset, photo(1), exact=exact)
    assert all((plan.cells.drop is not None) == exact for plan in plans.values())
    assert not any(plan.is_target for plan in plans.values())
    compiled = compile_network(model, plans)
    noise = network_noise(b"photo", 1, compiled.noise)
    assert compiled.noise
    assert_equals_oracle(compiled, model, plans, photo(1), noise)


OF_OWN = NOR.model_copy(update={"noise": RelativeSpread(law="relative", share=0.01, of="own")})


@pytest.mark.parametrize("preset", [SONOS, OF_OWN], ids=["saturating", "own"])
def test_word_lines_at_0_add_no_noise_where_the_zero_point_is_not_0(preset: Preset):
    model, black = network(seed=4), np.zeros_like(photo(1))
    plans = plans_of(model, preset, photo(1), exact=False)
    assert all(plan.cells.read_variance.ndim > 1 for plan in plans.values())
    compiled = compile_network(model, plans)
    noise = network_noise(b"photo", 1, compiled.noise)
    assert_equals_oracle(compiled, model, plans, black, noise)


def without_weights_of(model: onnx.ModelProto, layer: str, channel: int) -> onnx.ModelProto:
    """The network whose `layer` does not look at one of its input channels (in any of its groups)."""
    codes = next(tensor for tensor in model.graph.initializer if tensor.name == f"{layer}_weight_codes")
    changed = numpy_helper.to_array(codes).copy()
    changed[:, channel] = 0
    codes.CopyFrom(numpy_helper.from_array(changed, codes.name))
    return model


@pytest.mark.parametrize(("rows", "stem_rows"), [(576, (27,)), (18, (18, 9)), (9, (9, 9, 9))])
@pytest.mark.parametrize("case", CASES)
def test_a_channel_without_weights_has_neither_cells_nor_noise_nor_drivers(
    case: str, rows: int, stem_rows: tuple[int, ...]
):
    base, exact = CASES[case]
    preset = base.model_copy(update={"tile": base.tile.model_copy(update={"rows": rows})})
    model = without_weights_of(without_weights_of(network(seed=3, group=2), "stem", 3), "grouped", 5)
    plans = plans_of(model, preset, photo(1), exact=exact)
    stem = plans["stem"].mapped
    assert stem.rows == stem_rows
    assert stem.cuts_channels == (rows != 9)  # of four blocks one is empty
    assert ("grouped" not in plans) or plans["grouped"].mapped.rows == (63,)
    compiled = compile_network(model, plans)
    noise = network_noise(b"photo", 1, compiled.noise)
    found, counted = [], []
    for padding in (0, 255):
        image = photo(2)
        image[..., 3] = padding
        found.append(assert_equals_oracle(compiled, model, plans, image, noise))
        counted.append(LayerCounter.of(stem, preset).count(image.transpose(0, 3, 1, 2)))
    for name, codes in found[0].items():
        if name not in ("image", "image_nchw"):
            np.testing.assert_array_equal(codes, found[1][name], err_msg=name)
    assert counted[0] == counted[1]


def test_on_ideal_arrays_a_channel_without_weights_changes_nothing():
    model = without_weights_of(network(seed=3), "stem", 3)
    for rows in (9, 18, 576):
        preset = NOR.model_copy(update={"tile": NOR.tile.model_copy(update={"rows": rows})})
        assert all(row.is_equal for row in check_network(model, mapped_on(model, preset), [{"image": photo(1)}]))


def one_layer(preset: Preset) -> MappedLayer:
    return next(m for m in mapped_on(network(seed=3, channels=32), preset).layers if m.name == "strided")


def test_a_crossbars_wires_take_more_the_wider_its_arrays_are():
    mapped = one_layer(CROSSBAR)
    bare = chip_cells(mapped, Chip(CROSSBAR.model_copy(update={"wires": None}), 1), 256)
    narrow, wide = (chip_cells(mapped, Chip(CROSSBAR, 1), columns) for columns in (8, 64))
    sums = [cells.positive.sum() for cells in (bare, narrow, wide)]
    assert sums[0] > sums[1] > sums[2] > 0.5 * sums[0]


def test_a_pairs_columns_share_a_crossbars_word_lines_and_groups_do_not():
    model = network(seed=3, channels=16, group=2)
    mapped = next(m for m in mapped_on(model, CROSSBAR).layers if m.name == "grouped")
    bare = chip_cells(mapped, Chip(CROSSBAR.model_copy(update={"wires": None}), 1), 256)
    found, chip = chip_cells(mapped, Chip(CROSSBAR, 1), 256), Chip(CROSSBAR, 1)
    assert bare.negative is not None
    assert found.negative is not None
    rows = np.flatnonzero(mapped.tile_cells[0])
    for group in np.arange(mapped.outputs).reshape(2, -1):
        pairs = [levels[0, group].reshape(len(group), -1)[:, rows] for levels in (bare.positive, bare.negative)]
        columns = np.stack(pairs, axis=1).reshape(2 * len(group), -1).astype(np.float64)
        wired = chip.after_wires(columns.T, np.ones(len(rows)), mapped.slicing.highest_levels[0]).T
        for sign, levels in enumerate((found.positive, found.negative)):
            held = levels[0, group].reshape(len(group), -1)[:, rows]
            np.testing.assert_allclose(held, wired[sign::2], atol=2**-5)
            assert np.abs(held - pairs[sign]).max() > 2**-4, "the wires take more than the grid rounds"


def test_at_the_mean_inputs_both_forms_of_nor_wires_leave_about_the_same_current():
    mapped, share = one_layer(NOR), 0.4
    bare = chip_cells(mapped, Chip(NOR.model_copy(update={"wires": None}), 1), 256)
    exact = chip_cells(mapped, Chip(NOR, 1), 256)
    linear = chip_cells(mapped, Chip(NOR, 1), 256, [share] * mapped.planes.shape[2])
    assert exact.drop is not None
    highest = max((1 << pulse.bits) - 1 for pulse in mapped.pulses)
    whole = mapped.column_sums(bare.positive) * share * highest
    followed = whole / (1 + exact.drop[0] * whole)
    found = mapped.column_sums(linear.positive) * share * highest
    busy = whole > np.median(whole)
    assert (found[busy] < whole[busy]).all()
    np.testing.assert_allclose(found[busy], followed[busy], rtol=0.01)
    assert np.mean(whole[busy] - followed[busy]) > 3 * np.mean(np.abs(found[busy] - followed[busy]))


def test_mean_inputs_are_those_of_the_codes():
    model = network(seed=3)
    layers = mapped_on(model, NOR).layers
    means = find_mean_inputs(model, layers, [{"image": photo(1)}, {"image": photo(2)}])
    assert set(means) == {mapped.name for mapped in layers}
    stem = np.stack([photo(1), photo(2)]).reshape(-1, 4)
    np.testing.assert_allclose(means["stem"], ((stem & 15) + (stem >> 4)).mean(axis=0) / 2 / 15, atol=1e-5)


def test_a_four_bit_network_is_the_same_on_ideal_arrays_and_gives_the_oracles_codes_on_flash(
    four_bit_network: onnx.ModelProto,
):
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 4), np.uint8)
    mapping = mapped_on(four_bit_network, NOR)
    rows = check_network(four_bit_network, mapping, [{"image": image}])
    assert all(row.is_equal for row in rows)
    pulses = {mapped.name: len(mapped.pulses) for mapped in mapping.layers}
    assert (pulses["stem"], pulses["body"]) == (2, 1)
    assert all(m.slicing.cells_per_weight == 2 for m in mapping.layers)
    plans = plans_of(four_bit_network, NOR, image, exact=False)
    compiled = compile_network(four_bit_network, plans)
    found = assert_equals_oracle(compiled, four_bit_network, plans, image, network_noise(b"photo", 1, compiled.noise))
    ideal = {m.name: LayerPlan(m, None, target_cells(m)) for m in mapping.layers}
    assert not compile_network(four_bit_network, ideal).forms
    assert max(int(codes.max()) for name, codes in found.items() if name in ("stem", "body")) <= 15
