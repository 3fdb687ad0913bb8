import math

import pytest
from edgedet_iot.latency_sketch import RELATIVE_ERROR, LatencySketch
from hypothesis import given
from hypothesis import strategies as st

latencies = st.lists(st.floats(min_value=1e-3, max_value=1e7), min_size=1, max_size=200)


@given(latencies, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_off_by_at_most_a_hundredth(values, q):
    sketch = LatencySketch()
    for value in values:
        sketch.add(value)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = sketch.quantile_ms(q)
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


def test_a_stall_of_one_photo_in_ten_shows():
    sketch = LatencySketch()
    for latency_ms in (*[20.0] * 9, 5000.0):
        sketch.add(latency_ms)
    assert sketch.quantile_ms(0.99) == pytest.approx(5000, rel=RELATIVE_ERROR)
    assert sketch.quantile_ms(0.9) == pytest.approx(20, rel=RELATIVE_ERROR)


def test_memory_is_bounded_by_the_range_and_not_by_the_count():
    sketch = LatencySketch()
    for count in range(100_000):
        sketch.add(1 + count % 10_000)
    assert sketch.count == 100_000
    assert len(sketch._buckets) < 500


def test_nothing_counted_has_no_quantile():
    assert LatencySketch().quantile_ms(0.5) is None


def test_zero_counts_as_the_shortest_latency():
    sketch = LatencySketch()
    sketch.add(0.0)
    assert sketch.quantile_ms(0.5) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_share_beyond_one_is_refused(q):
    with pytest.raises(ValueError, match="not between"):
        LatencySketch().quantile_ms(q)
