"""Splits: complete, seeded, the same everywhere, and fair to every label."""

import numpy as np
import pytest
from edgedet_compression.data.splits import hold_out, hold_out_by_label
from edgedet_compression.errors import BuildRefused
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(2, 300), st.data(), st.integers(0, 2**32))
def test_every_image_is_on_one_side(count: int, data: st.DataObject, seed: int):
    held = data.draw(st.integers(1, count - 1))
    for kept, out in (
        hold_out(count, held, seed),
        hold_out_by_label(np.arange(count) % 7, held, seed),
    ):
        assert len(out) == held
        assert sorted([*kept, *out]) == list(range(count))
        assert (np.diff(kept) > 0).all()
        assert (np.diff(out) > 0).all()


@given(st.lists(st.integers(0, 5), min_size=2, max_size=200), st.data())
def test_every_label_is_held_out_in_its_share(labels: list[int], data: st.DataObject):
    held = data.draw(st.integers(1, len(labels) - 1))
    _, out = hold_out_by_label(np.array(labels), held, 0)
    counts, found = np.bincount(labels), np.bincount(np.array(labels)[out], minlength=max(labels) + 1)
    assert (np.abs(found - counts * held / len(labels)) < 1).all()


def test_the_split_of_cifar10_is_the_same_on_every_machine():
    kept, out = hold_out(50_000, 5_000, 0)
    assert (len(kept), len(out)) == (45_000, 5_000)
    assert out[:8].tolist() == [2, 3, 11, 13, 20, 48, 53, 59]
    _, stratified = hold_out_by_label(np.arange(50_000) % 10, 5_000, 0)
    assert np.bincount(stratified % 10).tolist() == [500] * 10
    assert stratified[:8].tolist() == [2, 3, 11, 13, 20, 48, 53, 59]


def test_another_seed_gives_another_split():
    assert hold_out(1000, 100, 0)[1].tolist() != hold_out(1000, 100, 1)[1].tolist()


@pytest.mark.parametrize("held", [-1, 0, 10, 11])
def test_a_split_that_leaves_a_side_empty_is_refused(held: int):
    with pytest.raises(BuildRefused, match=f"hold_out = {held} of 10 images"):
        hold_out(10, held, 0)
    with pytest.raises(BuildRefused, match=f"hold_out = {held} of 10 images"):
        hold_out_by_label(np.zeros(10, np.int64), held, 0)
