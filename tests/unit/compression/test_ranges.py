"""Scales and zero points: round trips, coverage, and the least error."""

import numpy as np
import pytest
from edgedet_compression.quantization.ranges import Histogram, Quantization, covering, leaky_output, least_squares
from hypothesis import given
from hypothesis import strategies as st

ENDS = st.tuples(st.floats(-100, 0), st.floats(0.01, 100))


@given(scale=st.floats(1e-4, 10), zero_point=st.integers(0, 255))
def test_codes_survive_the_way_to_values_and_back(scale: float, zero_point: int):
    quantization = Quantization(scale, zero_point)
    codes = np.arange(256, dtype=np.uint8)
    assert (quantization.codes(quantization.values(codes)) == codes).all()


@given(ends=ENDS, share=st.floats(0, 1))
def test_a_covered_value_is_off_by_at_most_half_a_step(ends: tuple[float, float], share: float):
    low, high = ends
    quantization = covering(low, high)
    value = low + share * (high - low)
    found = quantization.values(quantization.codes([value]))[0]
    assert abs(found - value) <= quantization.scale * (0.5 + 1e-6)


@given(ends=ENDS)
def test_zero_has_a_code_of_its_own(ends: tuple[float, float]):
    quantization = covering(*ends)
    assert quantization.values(quantization.codes([0.0]))[0] == 0.0


def histogram_of(values: np.ndarray) -> Histogram:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts, _ = np.histogram(values, bins=2048, range=(low, high))
    return Histogram(low, high, counts.astype(float))


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_range_is_no_worse_than_covering_everything(seed: int):
    values = np.random.default_rng(seed).standard_t(3, size=20_000)
    chosen, whole = least_squares(histogram_of(values)), covering(values.min(), values.max())

    def error(quantization: Quantization) -> float:
        return float(((quantization.values(quantization.codes(values)) - values) ** 2).mean())

    assert error(chosen) < error(whole)


def test_what_a_leaky_relu_shrinks_may_be_clipped_sooner():
    values = np.random.default_rng(0).normal(size=20_000)
    assert least_squares(histogram_of(values), slope=0.1).low > least_squares(histogram_of(values)).low


@pytest.mark.parametrize("seed", range(3))
def test_a_leaky_output_keeps_zero_and_loses_little(seed: int):
    values = np.random.default_rng(seed).normal(size=20_000)
    source = covering(values.min(), values.max())
    output = leaky_output(source, histogram_of(values), 0.1)
    exact = np.where(values < 0, 0.1 * values, values)
    found = output.values(output.codes(exact))
    assert np.abs(found - exact).mean() < source.scale


def test_a_tensor_that_is_always_zero_has_a_scale():
    assert covering(0.0, 0.0).scale > 0
