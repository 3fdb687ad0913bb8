"""Normal numbers of read noise: standard normal, and a function of photo, layer and chip alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from edgedet_nvm.noise_input import network_noise, normal_numbers
from scipy import stats


def test_the_numbers_are_standard_normal():
    z = normal_numbers(b"photo", "conv", 0, (1, 50, 40, 50)).reshape(-1).astype(np.float64)
    assert z.mean() == pytest.approx(0, abs=0.01)
    assert z.std() == pytest.approx(1, abs=0.01)
    assert stats.kurtosis(z, fisher=False) == pytest.approx(3, abs=0.05)
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01


def test_photo_layer_and_chip_each_change_the_numbers_and_nothing_else_does():
    shape = (1, 7, 5, 3)
    first = normal_numbers(b"photo", "conv", 1, shape)
    np.testing.assert_array_equal(first, normal_numbers(b"photo", "conv", 1, shape))
    for other in (("other", "conv", 1), ("photo", "conv2", 1), ("photo", "conv", 2)):
        assert (first != normal_numbers(other[0].encode(), other[1], other[2], shape)).mean() > 0.9


def test_threads_and_order_do_not_matter():
    shapes = {f"layer{index}": (1, 3 + index, 4, 4) for index in range(8)}
    expected = network_noise(b"photo", 3, shapes)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: network_noise(b"photo", 3, dict(reversed(shapes.items()))), range(8)))
    for run in runs:
        for layer, numbers in expected.items():
            np.testing.assert_array_equal(run[layer], numbers)
