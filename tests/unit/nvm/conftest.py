"""Networks that the runtime's tests have as well."""

from tests.unit.runtime.conftest import four_bit_network

__all__ = ["four_bit_network"]
