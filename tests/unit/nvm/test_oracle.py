"""The oracle against sums that are written out, cell by cell, and against the digital network."""

import numpy as np
import pytest
from edgedet_nvm.cells import LayerCells, LayerPlan, target_cells
from edgedet_nvm.converter import Converter, ReadRange
from edgedet_nvm.mapping import Arrays, MappedLayer, map_network
from edgedet_nvm.oracle import run_oracle
from edgedet_nvm.shift_add import shift_add
from edgedet_nvm.slicing import Slicing
from edgedet_runtime.quantized_graph import read_quantized_graph
from pydantic import ValidationError

from tests.unit.quantized_networks import network, photo

ARRAYS = Arrays(rows=18, columns=256, slicing=Slicing.differential(15, 7), pulse_bits=4)


def strided_layer() -> MappedLayer:
    return next(m for m in map_network(read_quantized_graph(network(1)), ARRAYS).layers if m.name == "strided")


def by_hand(mapped: MappedLayer, converter: Converter, codes: np.ndarray, output: int, row: int, column: int) -> int:
    """One output code: word lines, cells, converter and adder as loops."""
    digital = shift_add(mapped, converter)
    total, conversion = int(digital.bias[output]), 0
    for p, pulse in enumerate(mapped.pulses):
        for held in mapped.tile_cells:
            for j in range(len(mapped.planes)):
                current = 0
                for channel, y, x in zip(*np.nonzero(held), strict=True):
                    at_y, at_x = 2 * row + int(y) - 1, 2 * column + int(x) - 1
                    inside = 0 <= at_y < codes.shape[2] and 0 <= at_x < codes.shape[3]
                    code = int(codes[0, channel, at_y, at_x]) if inside else mapped.zero_point
                    difference = pulse.of_code(code) - pulse.of_code(mapped.zero_point)
                    current += difference * int(mapped.planes[j, output, channel, y, x])
                read = converter.reads[p][j]
                gain = np.float32(1 / (np.float32(converter.step) * 2**read.shift))
                scaled = np.float32(current - read.offset) * gain
                code = int(np.clip(np.rint(scaled), converter.lowest, converter.highest))
                total += int(digital.factors[conversion]) * code
                conversion += 1
    value = np.rint(np.float32(total) * digital.multiplier[output]) + mapped.layer.output.zero_point
    return int(np.clip(value, 0, 255))


def test_every_output_is_what_loops_over_word_lines_and_cells_give():
    mapped = strided_layer()
    reads = [[ReadRange(shift=p - j, offset=7 * p - 3 * j) for j in range(2)] for p in range(2)]
    converter = Converter(bits=5, step=float(np.float32(17.3)), reads=reads)
    plans = {"strided": LayerPlan(mapped, converter, target_cells(mapped))}
    found = run_oracle(network(1), plans, {"image": photo(2)}, {}).tensors
    codes = found["block"]
    for output, row, column in [(0, 0, 0), (3, 1, 2), (15, 2, 2), (8, 2, 0)]:
        expected = by_hand(mapped, converter, codes, output, row, column)
        assert found["strided"][0, output, row, column] == expected


@pytest.mark.parametrize("general", [False, True])
def test_one_deviation_of_noise_is_the_root_of_the_sum_of_squares_over_the_tile(general: bool):
    model, image = network(1), {"image": photo(3)}
    mapped = next(layer for layer in map_network(read_quantized_graph(model), ARRAYS).layers if layer.name == "logits")
    variance = np.random.default_rng(1).uniform(0.1, 0.5, mapped.planes.shape) if general else np.array([0.2, 0.3])
    plan = LayerPlan(mapped, None, LayerCells(*_pair(mapped), read_variance=variance))
    noise = np.zeros((1, mapped.conversions * mapped.outputs, 1, 1), np.float32)
    silent = run_oracle(model, {"logits": plan}, image, {"logits": noise}).tensors
    pulse, tile, plane, output = 1, 0, 1, 2
    place = (pulse * mapped.tiles + tile) * len(mapped.planes) + plane
    noise[0, place * mapped.outputs + output] = 1
    noisy = run_oracle(model, {"logits": plan}, image, {"logits": noise}).tensors["logits"]
    codes = mapped.pulses[pulse].of(silent["flat"])[0].astype(np.float64)
    each = variance[plane, output, :, 0, 0] if general else np.full(len(codes), 0.3)
    deviation = np.sqrt(np.sum(codes**2 * each * mapped.tile_cells[tile, :, 0, 0]))
    digital = shift_add(mapped, None)
    expected = deviation * digital.factors[place] * digital.multiplier[output]
    difference = noisy - silent["logits"]
    assert difference[0, output] == pytest.approx(expected, rel=1e-3)
    assert np.count_nonzero(difference) == 1


def _pair(mapped: MappedLayer) -> tuple[np.ndarray, np.ndarray | None]:
    cells = target_cells(mapped)
    return cells.positive, cells.negative


def test_conversions_out_of_range_are_counted_by_layer_and_read():
    mapped = strided_layer()
    reads = [[ReadRange(shift=0, offset=0)] * 2] * 2
    plans = {
        bits: {"strided": LayerPlan(mapped, Converter(bits=bits, step=1, reads=reads), target_cells(mapped))}
        for bits in (1, 16)
    }
    counts = {bits: run_oracle(network(1), plan, {"image": photo(2)}, {}).saturated for bits, plan in plans.items()}
    assert counts[16]["strided"].sum() == 0
    assert counts[1]["strided"].shape == (2, 2)
    assert counts[1]["strided"].min() > 0


def test_the_bias_keeps_binary_places_below_one_step():
    mapped = strided_layer()
    reads = [[ReadRange(shift=0, offset=0)] * 2] * 2
    digital = shift_add(mapped, Converter(bits=8, step=10, reads=reads))
    unit = digital.multiplier / shift_add(mapped, None).multiplier
    assert np.abs(digital.factors).max() == 256  # pulses of 4 bits times slices of 4 bits, no binary place left
    np.testing.assert_allclose(digital.bias * unit, mapped.weights.bias, atol=5.01)
    finer = shift_add(mapped, Converter(bits=8, step=10, reads=[[ReadRange(shift=-4, offset=0)] * 2] * 2))
    np.testing.assert_allclose(finer.multiplier * 16, digital.multiplier, rtol=1e-6)


@pytest.mark.parametrize(("bits", "step", "said"), [(0, 1.0, "of 0 bits has no codes to tell apart"),
                                                    (17, 1.0, "give 1…16"), (8, 0.1, "no float32 value")])  # fmt: skip
def test_converters_that_cannot_be_are_refused_with_the_fix(bits: int, step: float, said: str):
    with pytest.raises(ValidationError, match=said):
        Converter(bits=bits, step=step, reads=[[ReadRange(shift=0, offset=0)]])
