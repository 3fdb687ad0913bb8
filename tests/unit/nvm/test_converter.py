"""The converter: the arithmetic of the compiled graph, and bits or steps that no converter has."""

import numpy as np
import pytest
from edgedet_nvm.converter import Converter, ReadRange
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError


def converter(bits: int, step: float, shift: int = 0) -> Converter:
    return Converter(bits=bits, step=step, reads=[[ReadRange(shift=shift, offset=0)]])


def codes(made: Converter, currents: list[int]) -> list[float]:
    return made.convert(np.array(currents, np.float32), made.gains[0, 0]).tolist()


@settings(max_examples=50)
@given(st.integers(1, 16), st.floats(0.015625, 1e4, width=32), st.lists(st.integers(-(2**20), 2**20)))
def test_codes_are_those_of_float32_product_rounding_and_saturation(bits: int, step: float, currents: list[int]):
    gain = np.float32(1) / np.float32(step)
    for current, code in zip(currents, codes(converter(bits, step), currents), strict=True):
        rounded = round(float(np.float32(current) * gain))  # Python rounds halves to even too
        assert code == min(max(rounded, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def test_halves_go_to_even():
    assert codes(converter(8, 2.0), [1, 3, 5, -1, -3]) == [0, 2, 2, 0, -2]


def test_a_shifted_read_has_a_step_that_is_a_power_of_two_larger():
    assert codes(converter(8, 2.0, shift=1), [8, 12, -8]) == codes(converter(8, 4.0), [8, 12, -8]) == [2, 3, -2]


def test_the_reciprocal_is_multiplied_not_the_step_divided_by():
    tie = 91  # 6.5 steps of 14: an exact tie for a quotient, which goes to 6; the product lies just above
    assert np.rint(np.float32(tie) / np.float32(14)) == 6
    assert codes(converter(8, 14.0), [tie]) == [7]


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_a_converter_without_bits_is_refused_with_what_to_do(bits: int):
    with pytest.raises(ValidationError, match=r"no codes to tell apart; give 1…16, or leave the \[adc\] section out"):
        converter(bits, 1.0)


@pytest.mark.parametrize("step", [0.0, -1.0, float("inf"), float("nan")])
def test_a_step_that_is_none_is_refused(step: float):
    with pytest.raises(ValidationError, match="step"):
        converter(8, step)
