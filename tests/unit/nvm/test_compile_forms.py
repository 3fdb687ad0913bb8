"""The compiled graphs, int8 and float32, give the oracle's codes in every layer."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from edgedet_nvm.cells import LayerCells, LayerPlan, target_cells
from edgedet_nvm.compile import compile_network
from edgedet_nvm.compile.network import CompiledNetwork, compile_float, exposed, noise_name
from edgedet_nvm.converter import Converter, ReadRange
from edgedet_nvm.mapping import Arrays, Cut, MappedLayer, map_network
from edgedet_nvm.oracle import run_oracle
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.quantized_graph import read_quantized_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.nvm.arrays_at_work import assert_equals_oracle, digital_outputs, run
from tests.unit.quantized_networks import network, photo, wide_layer

SLICES = Slicing.differential(15, 7)
BITS = Slicing.twos_complement(8)
ONE_PAIR = Slicing.differential(127)


def layers(model: onnx.ModelProto, arrays: Arrays) -> dict[str, MappedLayer]:
    return {layer.name: layer for layer in map_network(read_quantized_graph(model), arrays).layers}


def random_converter(mapped: MappedLayer, bits: int, seed: int) -> Converter:
    """Steps that leave some conversions saturated, shifts and offsets that differ from read to read."""
    rng = np.random.default_rng(seed)
    step = float(np.float32(mapped.largest_current() / 2**bits / rng.uniform(1, 6)))
    reads = [
        [ReadRange(shift=int(rng.integers(-1, 2)), offset=int(rng.integers(-40, 40))) for _ in mapped.planes]
        for _ in mapped.pulses
    ]
    return Converter(bits=bits, step=max(step, 1.0), reads=reads)


CASES = {
    "one tile": (Arrays(rows=576, columns=1024, slicing=SLICES), 8),
    "tiles by channels": (Arrays(rows=36, columns=1024, slicing=SLICES), 8),
    "more tiles than are split": (Arrays(rows=9, columns=1024, slicing=ONE_PAIR), 6),
    "tiles by kernel position": (Arrays(rows=20, columns=1024, slicing=SLICES, cut="kernel"), 7),
    "bit planes": (Arrays(rows=72, columns=1024, slicing=BITS), 8),
    "two pulses": (Arrays(rows=72, columns=1024, slicing=SLICES, pulse_bits=4), 6),
    "two pulses of bit planes": (Arrays(rows=36, columns=1024, slicing=BITS, pulse_bits=4), 8),
    "pulses of 3, 3 and 2 bits": (Arrays(rows=72, columns=1024, slicing=ONE_PAIR, pulse_bits=3), 8),
    "bit by bit": (Arrays(rows=576, columns=1024, slicing=ONE_PAIR, pulse_bits=1), 5),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_both_forms_and_the_oracle_agree_on_every_code(case: str, group: int):
    arrays, bits = CASES[case]
    model = network(seed=len(case), group=group)
    plans = {
        name: LayerPlan(mapped, random_converter(mapped, bits, seed), target_cells(mapped))
        for seed, (name, mapped) in enumerate(layers(model, arrays).items())
    }
    compiled = compile_network(model, plans)
    assert set(compiled.forms.values()) == {"int8"}
    expected = assert_equals_oracle(compiled, model, plans, photo(1))
    assert_equals_oracle(compile_float(model, plans), model, plans, photo(1))
    clipped = run_oracle(model, plans, {"image": photo(1)}, {}).saturated
    assert sum(int(counts.sum()) for counts in clipped.values()) > 0
    digital = run(compile_network(model, {}), model, photo(1))
    assert any((codes != expected[name]).any() for name, codes in digital.items())


@pytest.mark.parametrize("case", CASES)
def test_without_converter_all_tiles_planes_and_pulses_add_up_to_the_digital_codes(case: str):
    arrays, _ = CASES[case]
    model = network(seed=3)
    plans = {name: LayerPlan(mapped, None, target_cells(mapped)) for name, mapped in layers(model, arrays).items()}
    expected = assert_equals_oracle(compile_float(model, plans), model, plans, photo(2))
    collapsed = compile_network(model, plans)
    assert not collapsed.forms
    for name, codes in run(collapsed, model, photo(2)).items():
        np.testing.assert_array_equal(codes, expected[name], err_msg=name)


def test_a_lossless_converter_gives_the_digital_codes():
    arrays = Arrays(rows=9, columns=64, slicing=BITS, pulse_bits=1)
    model = network(seed=4)
    ranges = [[ReadRange(shift=0, offset=0)] * 8] * 8
    plans = {
        name: LayerPlan(mapped, Converter(bits=8, step=1, reads=ranges), target_cells(mapped))
        for name, mapped in layers(model, arrays).items()
    }
    assert "stem" in plans
    found = run(compile_network(model, plans), model, photo(3))
    for name, codes in run(compile_network(model, {}), model, photo(3)).items():
        np.testing.assert_array_equal(codes, found[name], err_msg=name)


def disturbed(mapped: MappedLayer, seed: int, *, general: bool, drop: bool) -> LayerCells:
    """Cells off their target on a grid of 1/8 level, so that float32 sums stay exact in any order."""
    rng = np.random.default_rng(seed)
    target = target_cells(mapped)

    def off(cells: np.ndarray) -> np.ndarray:
        return np.maximum(cells + rng.integers(-3, 4, cells.shape) / 8, 0)

    columns = (mapped.tiles, len(mapped.planes), mapped.outputs)
    uniform = np.linspace(0.02, 0.1, len(mapped.planes))
    each = rng.integers(1, 8, mapped.planes.shape) / 64
    losses = rng.uniform(0, 0.2 / mapped.largest_current(), (2, *columns)).astype(np.float32)
    if not mapped.slicing.paired:
        losses[1] = 0
    return LayerCells(
        off(target.positive),
        None if target.negative is None else off(target.negative),
        each if general else uniform,
        (losses[0], losses[1]) if drop else None,
    )


def normals(compiled: CompiledNetwork, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in compiled.noise.items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("general", "drop"), [(False, False), (True, False), (False, True)])
def test_errors_noise_and_wire_losses_give_the_oracles_codes(case: str, general: bool, drop: bool):
    arrays, bits = CASES[case]
    model = network(seed=5, group=2)
    plans = {
        name: LayerPlan(
            mapped, random_converter(mapped, bits, seed), disturbed(mapped, seed, general=general, drop=drop)
        )
        for seed, (name, mapped) in enumerate(layers(model, arrays).items())
    }
    compiled = compile_network(model, plans)
    assert set(compiled.forms.values()) == {"float32"}
    noise = normals(compiled, 6)
    assert noise.keys() == plans.keys()
    noisy = assert_equals_oracle(compiled, model, plans, photo(4), noise)
    silent = run(compiled, model, photo(4), {name: np.zeros_like(values) for name, values in noise.items()})
    assert any((codes != noisy[name]).any() for name, codes in silent.items())


@pytest.mark.parametrize("zero_point", [201, 223, 243, 255])
@pytest.mark.parametrize("channels", [57, 59, 61, 63])
def test_read_noise_has_a_deviation_also_where_sums_of_squares_are_beyond_whole_numbers(channels: int, zero_point: int):
    model = wide_layer(channels, zero_point)
    mapped = layers(model, Arrays(rows=576, columns=1024, slicing=ONE_PAIR))["conv"]
    assert max(mapped.rows) * zero_point**2 > 2**24
    cells = replace(target_cells(mapped), read_variance=np.array([0.01]))
    compiled = compile_network(model, {"conv": LayerPlan(mapped, random_converter(mapped, 8, 0), cells)})
    watched = exposed(compiled.model, {"conv:deviation": onnx.TensorProto.FLOAT})
    feeds = {"image": np.zeros((1, 3, 3, channels), np.uint8)} | {
        noise_name(name): values for name, values in normals(compiled, 0).items()
    }
    assert np.isfinite(digital_outputs(watched, feeds)["conv:deviation"]).all()


def test_a_converter_beyond_8_bits_takes_the_float_form():
    arrays = Arrays(rows=36, columns=64, slicing=SLICES)
    model = network(seed=7)
    plans = {
        name: LayerPlan(mapped, random_converter(mapped, 11, 1), target_cells(mapped))
        for name, mapped in layers(model, arrays).items()
    }
    compiled = compile_network(model, plans)
    assert set(compiled.forms.values()) == {"float32"}
    assert_equals_oracle(compiled, model, plans, photo(5))


def test_weights_of_4_bits_fit_one_pair_of_cells():
    arrays = Arrays(rows=36, columns=64, slicing=Slicing.differential(7))
    model = network(seed=8, highest=7)
    plans = {
        name: LayerPlan(mapped, random_converter(mapped, 6, 1), target_cells(mapped))
        for name, mapped in layers(model, arrays).items()
    }
    assert_equals_oracle(compile_network(model, plans), model, plans, photo(6))


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    highest=st.integers(1, 64),
    rows=st.integers(9, 200),
    bits=st.integers(1, 8),
    pulse_bits=st.sampled_from([1, 3, 4, 8]),
    cut=st.sampled_from(["channels", "kernel"]),
    slicing=st.sampled_from([SLICES, BITS, ONE_PAIR]),
)
def test_any_mapping_gives_the_oracles_codes(
    seed: int, highest: int, rows: int, bits: int, pulse_bits: int, cut: Cut, slicing: Slicing
):
    arrays = Arrays(rows, 1024, slicing, pulse_bits, cut)
    model = network(seed, highest, channels=4)
    plans = {
        name: LayerPlan(mapped, random_converter(mapped, bits, seed), target_cells(mapped))
        for name, mapped in layers(model, arrays).items()
    }
    assert_equals_oracle(compile_network(model, plans), model, plans, photo(seed))


@settings(max_examples=6)
@given(
    seed=st.integers(0, 10_000),
    channels=st.sampled_from([5, 7, 11, 13]),
    per_tile=st.integers(3, 4),
    cut=st.sampled_from(["channels", "kernel"]),
    general=st.booleans(),
)
def test_uneven_tiles_of_odd_channel_counts_are_exact_and_give_the_oracles_codes(
    seed: int, channels: int, per_tile: int, cut: Cut, general: bool
):
    arrays, model = Arrays(9 * per_tile, 1024, SLICES, 8, cut), network(seed, channels=channels)
    mapped = layers(model, arrays)
    if cut == "channels":
        assert mapped["inner"].tiles == -(-channels // per_tile)
    exact = {name: LayerPlan(layer, None, target_cells(layer)) for name, layer in mapped.items()}
    on_ideal = assert_equals_oracle(compile_float(model, exact), model, exact, photo(seed))
    for name, codes in run(compile_network(model, {}), model, photo(seed)).items():
        np.testing.assert_array_equal(codes, on_ideal[name], err_msg=name)
    converters = {name: random_converter(layer, 7, seed) for name, layer in mapped.items()}
    converted = {name: LayerPlan(mapped[name], converters[name], target_cells(mapped[name])) for name in mapped}
    assert_equals_oracle(compile_network(model, converted), model, converted, photo(seed))
    noisy = {
        name: LayerPlan(layer, converters[name], disturbed(layer, seed, general=general, drop=False))
        for name, layer in mapped.items()
    }
    compiled = compile_network(model, noisy)
    assert_equals_oracle(compiled, model, noisy, photo(seed), normals(compiled, seed))


def test_a_plan_for_a_layer_of_another_network_is_refused():
    arrays = Arrays(rows=36, columns=64, slicing=SLICES)
    mapped = layers(network(seed=9), arrays)["stem"]
    plan = LayerPlan(mapped, random_converter(mapped, 8, 1), target_cells(mapped))
    tail = onnx.ModelProto()
    tail.CopyFrom(network(seed=9))
    del tail.graph.node[:]
    with pytest.raises(GraphUnsupported, match="'stem': is not in the model"):
        compile_network(tail, {"stem": plan})
