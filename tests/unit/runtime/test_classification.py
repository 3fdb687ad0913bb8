"""Softmax against numpy's in float64; ties and orders."""

import numpy as np
from edgedet_runtime.classification import Classes, classify, softmax
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

logits_of = hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1000, 1000, width=32))


@given(logits_of)
def test_softmax_equals_the_float64_one_to_the_last_float32_digit(logits: np.ndarray):
    exponential = np.exp(logits.astype(np.float64) - float(logits.max()))
    expected = (exponential / exponential.sum()).astype(np.float32)
    np.testing.assert_array_max_ulp(softmax(logits), expected, maxulp=1)


@given(logits_of, st.integers(1, 60))
def test_the_best_classes_come_first_and_ties_go_to_the_lower_label(logits: np.ndarray, top_k: int):
    found = classify(logits, top_k)
    scores = softmax(logits)
    expected = sorted(range(len(logits)), key=lambda label: (-scores[label], label))[:top_k]
    assert found.labels.tolist() == expected
    assert np.array_equal(found.scores, scores[expected])


@given(logits_of)
def test_rows_carry_classes_without_loss(logits: np.ndarray):
    classes = classify(logits, 5)
    back = Classes.from_rows(classes.to_rows())
    assert np.array_equal(back.labels, classes.labels)
    assert np.array_equal(back.scores, classes.scores)
