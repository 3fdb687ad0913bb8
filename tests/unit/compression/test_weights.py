"""Weight codes: |q| ≤ 64 whatever comes, and rounding that makes up for its errors."""

import numpy as np
import pytest
from edgedet_compression.quantization.float_graph import load_float_graph
from edgedet_compression.quantization.patch_statistics import PatchStatistics, patch_statistics
from edgedet_compression.quantization.weights import MAX_WEIGHT_CODE, quantize_weights
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.unit.compression.small_networks import classifier, photos

FLOATS = st.floats(-1e3, 1e3, width=32)
WEIGHTS = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 4), st.just(3), st.just(3)), elements=FLOATS)


@given(weight=WEIGHTS, input_scale=st.floats(1e-5, 10), offset=FLOATS)
def test_codes_never_leave_the_bound_and_are_off_by_half_a_step(weight: np.ndarray, input_scale: float, offset: float):
    bias = np.full(len(weight), offset, np.float32)
    found = quantize_weights(weight, bias, input_scale)
    assert found.codes.dtype == np.int8
    assert np.abs(found.codes.astype(int)).max() <= MAX_WEIGHT_CODE == 64
    assert (found.scales > 0).all()
    scales = found.scales.astype(np.float64)[:, None, None, None]
    assert (np.abs(found.codes * scales - weight) <= scales * (0.5 + 1e-4)).all()


@given(weight=WEIGHTS, seed=st.integers(0, 100))
def test_codes_rounded_with_statistics_keep_the_bound_too(weight: np.ndarray, seed: int):
    found = quantize_weights(weight, np.zeros(len(weight), np.float32), 0.1, statistics_of(weight, seed))
    assert np.abs(found.codes.astype(int)).max() <= MAX_WEIGHT_CODE


def test_without_covariances_weights_go_to_their_nearest_codes_and_the_bias_takes_up_the_mean_error():
    weight, bias = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32), np.zeros(6, np.float32)
    nearest, means = quantize_weights(weight, bias, 0.1), np.full((1, 40), 3.0)
    found = quantize_weights(weight, bias, 0.1, PatchStatistics(means, None))
    np.testing.assert_array_equal(found.codes, nearest.codes)
    scales = found.scales.astype(np.float64)
    error = (found.codes * scales[:, None] - weight) @ means[0]
    assert np.abs(error).max() > 0.1
    assert found.bias * scales * np.float32(0.1) == pytest.approx(-error, abs=0.1)


def test_layers_too_wide_for_memory_have_means_alone(monkeypatch: pytest.MonkeyPatch):
    graph = load_float_graph(classifier(0))
    nodes = [node for node in graph.nodes if node.operator in {"Conv", "Gemm"}]
    images = [photo[..., :3].transpose(0, 3, 1, 2).astype(np.float32) for photo in photos(0)]

    def statistics() -> list[PatchStatistics]:
        return [found for _, found in patch_statistics(graph, nodes, images, lambda _="": None)]

    whole = statistics()
    sizes = [8 * found.covariances.size for found in whole]
    monkeypatch.setattr("edgedet_compression.quantization.patch_statistics._BYTES_OF_ONE", min(sizes))
    some = statistics()
    assert [found.covariances is None for found in some] == [size > min(sizes) for size in sizes]
    for left, right in zip(some, whole, strict=True):
        np.testing.assert_array_equal(left.means, right.means)


def inputs_of(weight: np.ndarray, seed: int) -> np.ndarray:
    """Correlated inputs [n, inputs] with a mean."""
    rng = np.random.default_rng(seed)
    count = weight[0].size
    mixing = rng.normal(size=(count, count)) / np.sqrt(count)
    return rng.normal(size=(4 * count, count)) @ mixing + rng.uniform(0, 2, count)


def statistics_of(weight: np.ndarray, seed: int) -> PatchStatistics:
    inputs = inputs_of(weight, seed)
    return PatchStatistics(inputs.mean(axis=0)[None], np.cov(inputs.T, bias=True)[None])


@pytest.mark.parametrize("seed", range(5))
def test_rounding_with_statistics_changes_outputs_less_than_nearest(seed: int):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(8, 6, 3, 3)).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    inputs = inputs_of(weight, seed)
    exact = inputs @ weight.reshape(8, -1).T + bias

    def error(statistics: PatchStatistics | None) -> float:
        found = quantize_weights(weight, bias, 0.01, statistics)
        codes = found.codes.reshape(8, -1) * found.scales.astype(float)[:, None]
        return float(((inputs @ codes.T + found.bias * found.scales * 0.01 - exact) ** 2).mean())

    assert error(statistics_of(weight, seed)) < 0.7 * error(None)


def test_an_output_that_is_always_zero_gets_scale_one():
    found = quantize_weights(np.zeros((2, 3, 1, 1), np.float32), np.zeros(2, np.float32), 0.1)
    assert (found.scales == 1).all()
    assert not found.codes.any()


def test_a_bias_much_larger_than_its_weights_still_fits_int32():
    weight = np.full((1, 1, 1, 1), 1e-12, np.float32)
    found = quantize_weights(weight, np.array([100.0], np.float32), 1e-3)
    assert found.bias[0] * float(found.scales[0]) * 1e-3 == pytest.approx(100, rel=1e-6)


def test_inputs_that_hardly_vary_do_not_stand_in_the_way():
    """Their covariance is rounding noise, and need not be positive definite."""
    weight = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    noise = PatchStatistics(np.ones((1, 4)), np.array([np.diag([4e-9, 1e-9, 1e-9, -3e-9])]))
    still = PatchStatistics(np.ones((1, 4)), np.zeros((1, 4, 4)))
    bias = np.zeros(3, np.float32)
    found, wanted = (quantize_weights(weight, bias, 0.1, statistics) for statistics in (noise, still))
    assert (found.codes == wanted.codes).all()
    assert (found.bias == wanted.bias).all()
