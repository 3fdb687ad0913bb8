"""The digital end of a layer: converted codes shifted, added over tiles, planes and pulses, and requantized."""

from dataclasses import dataclass

import numpy as np
from edgedet_runtime.errors import GraphUnsupported
from numpy.typing import NDArray

from edgedet_nvm.converter import Converter
from edgedet_nvm.mapping import MappedLayer

# Factors up to 64 keep every CPU's 8-bit kernels exact (AVX2: 2 · 255 · 64 fits 16 bits) and leave the bias
# six binary places below one step.
_LARGEST_FACTOR = 64
_EXACT_FLOAT = 1 << 24


@dataclass(frozen=True, slots=True)
class ShiftAdd:
    """``y = f32(Σ_k factors[k] · code_k + bias) · multiplier``, summed in integers, then rounded to the output's codes.

    Conversions k run over pulses, tiles and planes, in this order.
    """

    factors: NDArray[np.int64]
    """[conversions]."""
    bias: NDArray[np.int32]
    """[outputs]; in units of ``step / 2^fraction``."""
    multiplier: NDArray[np.float32]
    """[outputs]."""
    bound: float
    """No sum is further from 0."""

    @property
    def is_exact_in_float(self) -> bool:
        """Whether float32 holds every sum of integers exactly."""
        return self.bound < _EXACT_FLOAT

    @property
    def fits_int8(self) -> bool:
        """Whether an 8-bit kernel can hold the factors."""
        return bool(self.factors.min() >= -128 and self.factors.max() <= 127)


def shift_add(mapped: MappedLayer, converter: Converter | None) -> ShiftAdd:
    """The digital constants of a layer; without a converter, currents are taken as they are.

    Raises:
        GraphUnsupported: sums would leave 32 bits.
    """
    if converter is None:
        read_factors = mapped.read_factors
        result = ShiftAdd(
            _over_tiles(read_factors, mapped.tiles),
            mapped.weights.bias,
            _digital_multiplier(mapped),
            mapped.tiles * mapped.largest_current() * float(np.abs(read_factors).sum()) + _largest(mapped.weights.bias),
        )
    else:
        result = _shift_add(mapped, converter)
    if result.bound >= 1 << 31:
        raise GraphUnsupported(f"layer {mapped.name!r}: its sums leave 32 bits; take a larger ADC step")
    return result


def _shift_add(mapped: MappedLayer, converter: Converter) -> ShiftAdd:
    factors = np.ldexp(mapped.read_factors.astype(np.float64), converter.shifts)
    offset = mapped.tiles * float((mapped.read_factors * converter.offsets).sum())
    needed = next(places for places in range(32) if not np.any(np.ldexp(factors, places) % 1))
    fraction = max(needed, int(np.floor(np.log2(_LARGEST_FACTOR / np.abs(factors).max()))))
    while True:
        scaled = np.rint(np.ldexp(factors, fraction)).astype(np.int64)
        bias = np.rint((mapped.weights.bias + offset) * (2.0**fraction / converter.step))
        bound = mapped.tiles * float(np.abs(scaled).sum()) * -converter.lowest + _largest(bias)
        if bound < _EXACT_FLOAT or fraction == needed:
            break
        fraction -= 1
    unit = np.float32(converter.step) * np.float32(2.0**-fraction)
    return ShiftAdd(_over_tiles(scaled, mapped.tiles), bias.astype(np.int32), _digital_multiplier(mapped) * unit, bound)


def _digital_multiplier(mapped: MappedLayer) -> NDArray[np.float32]:
    """``s_x·s_w / s_y`` as the digital network rounds it; a float output has no s_y."""
    layer = mapped.layer
    source = layer.inputs[0].scale
    if source is None:
        raise GraphUnsupported(f"layer {layer.name!r}: its input is not quantized")
    scale = np.float32(source) * mapped.weights.scales
    return scale if layer.output.scale is None else scale / layer.output.scale


def _over_tiles(factors: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """[pulses, planes] → [pulses · tiles · planes]."""
    return np.repeat(factors[:, None], tiles, axis=1).reshape(-1)


def _largest(values: NDArray[np.int32] | NDArray[np.float64]) -> float:
    return float(np.abs(values.astype(np.float64)).max())
