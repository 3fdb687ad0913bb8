"""Pulses and slices: codes and weights come back out of their parts."""

import numpy as np
import pytest
from edgedet_nvm.device.inputs import Drive, pulses_of
from edgedet_nvm.device.slices import Slices
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

AMPLITUDE = Drive(kind="amplitude", bits=4)
SERIAL = Drive(kind="bit-serial", bits=1)
WIDTH = Drive(kind="pulse-width", bits=3)


@settings(max_examples=50)
@given(st.integers(1, 8), st.integers(1, 8), arrays(np.uint8, (3, 5)))
def test_shifted_pulses_add_up_to_the_codes(bits: int, code_bits: int, codes: np.ndarray):
    codes &= (1 << code_bits) - 1
    pulses = pulses_of((1 << code_bits) - 1, bits)
    parts = [pulse.of(codes) for pulse in pulses]
    assert all(part.dtype == np.uint8 and part.max() < 2**bits for part in parts)
    assert (sum(part.astype(np.int64) << pulse.shift for part, pulse in zip(parts, pulses, strict=True)) == codes).all()
    assert [pulse.of_code(int(codes[0, 0])) for pulse in pulses] == [part[0, 0] for part in parts]


def test_a_code_takes_as_many_pulses_as_the_drivers_need():
    assert [pulse.shift for pulse in pulses_of(255, 4)] == [0, 4]
    assert [pulse.shift for pulse in pulses_of(15, 4)] == [0]
    assert [pulse.shift for pulse in pulses_of(15, 1)] == [0, 1, 2, 3]
    assert [(pulse.shift, pulse.bits) for pulse in pulses_of(255, 3)] == [(0, 3), (3, 3), (6, 2)]


def test_only_widths_take_time_slots():
    assert (AMPLITUDE.slots(), SERIAL.slots(), WIDTH.slots()) == (1, 1, 7)


def test_a_bit_serial_driver_of_several_bits_is_refused():
    with pytest.raises(ValidationError, match="a bit-serial driver has 1 bit, not 2"):
        Drive(kind="bit-serial", bits=2)


@settings(max_examples=50)
@given(st.integers(1, 127), st.integers(1, 7))
def test_slices_hold_every_magnitude_and_no_level_more(max_magnitude: int, bits: int):
    tops = Slices(signs="differential", bits_per_cell=bits).tops(max_magnitude)
    for magnitude in range(max_magnitude + 1):
        digits = [magnitude >> bits * place & (1 << bits) - 1 for place in reversed(range(len(tops)))]
        assert all(digit <= top for digit, top in zip(digits, tops, strict=True))
    assert tops[0] == max_magnitude >> bits * (len(tops) - 1)


@pytest.mark.parametrize(
    ("signs", "bits", "max_magnitude", "tops"),
    [
        ("differential", 4, 127, (7, 15)),
        ("differential", 4, 64, (4, 15)),
        ("differential", 4, 7, (7,)),
        ("differential", 7, 64, (64,)),
        ("twos-complement", 1, 7, (1,) * 4),
        ("twos-complement", 1, 64, (1,) * 8),
    ],
)
def test_weights_take_the_slices_that_their_range_needs(
    signs: str, bits: int, max_magnitude: int, tops: tuple[int, ...]
):
    slices = Slices(signs=signs, bits_per_cell=bits)
    assert slices.tops(max_magnitude) == tops


def test_planes_of_several_bits_are_refused():
    with pytest.raises(ValidationError, match="planes of two's complement hold 1 bit a cell, not 4"):
        Slices(signs="twos-complement", bits_per_cell=4)
