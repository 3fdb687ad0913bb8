"""Converters: the arithmetic of the compiled graph, and bits that no converter has."""

import numpy as np
import pytest
from edgedet_nvm.device.adc import Adc
from edgedet_nvm.errors import OutOfRange
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 16), st.floats(0.01, 1e4), st.integers(-10_000, 10_000), st.lists(st.integers(-(2**20), 2**20)))
def test_codes_are_those_of_float32_product_rounding_and_saturation(
    bits: int, step: float, offset: int, currents: list[int]
):
    found = Adc(bits, step, offset).convert(np.array(currents, np.int64))
    for current, code in zip(currents, found.tolist(), strict=True):
        rounded = round(float(np.float32(current + offset) * np.float32(1 / step)))  # Python rounds halves to even too
        assert code == min(max(rounded, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def test_halves_go_to_even():
    assert Adc(8, 2.0).convert(np.array([1, 3, 5, -1, -3])).tolist() == [0, 2, 2, 0, -2]


def test_the_offset_is_added_before_the_step_counts():
    assert Adc(8, 4.0, offset=-100).convert(np.array([100, 104, 300])).tolist() == [0, 1, 50]


def test_the_reciprocal_is_multiplied_not_the_step_divided_by():
    tie = 91  # 6.5 steps of 14: an exact tie for a quotient, which goes to 6; the product lies just above
    assert np.rint(np.float32(tie) / np.float32(14)) == 6
    assert Adc(8, 14.0).convert(np.array([tie])).tolist() == [7]


def test_saturation_is_the_share_of_conversions_outside_of_the_range():
    adc = Adc(4, 1.0)
    assert (adc.low, adc.high) == (-8, 7)
    assert adc.saturated(np.array([-9, -8, 0, 7, 8])) == pytest.approx(0.4)


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_a_converter_without_bits_is_refused_with_what_to_do(bits: int):
    with pytest.raises(OutOfRange, match=r"adc\.bits: .*give 1…16, or leave the \[adc\] section out"):
        Adc(bits, 1.0)


@pytest.mark.parametrize("step", [0.0, -1.0, float("inf"), float("nan")])
def test_a_step_that_is_none_is_refused(step: float):
    with pytest.raises(OutOfRange, match=r"step: .* must be positive"):
        Adc(8, step)
