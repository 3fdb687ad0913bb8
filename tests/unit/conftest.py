"""Small quantized networks that tests of several packages read."""

import onnx
import pytest

from tests.unit import quantized_networks


@pytest.fixture(scope="session")
def residual_network() -> onnx.ModelProto:
    return quantized_networks.branched_network()


@pytest.fixture(scope="session")
def four_bit_network() -> onnx.ModelProto:
    return quantized_networks.four_bit_network()
