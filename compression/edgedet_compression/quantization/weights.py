"""Int8 weights with one scale per output channel, |q| ≤ 64, rounded so that a layer's output changes least."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgedet_compression.quantization.patch_statistics import PatchStatistics

# AVX2's multiply-add sums two products in a saturating int16: 2 · 255 · 64 = 32,640 ≤ 32,767 cannot saturate,
# so that every x86-64 machine computes the same codes.
MAX_WEIGHT_CODE = 64

_BIAS_LIMIT = 2**28  # leaves the accumulator's upper bits to the products
_DAMPING = 0.01
_BLOCK = 128

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class QuantizedWeights:
    """value = scales[out] · codes; bias = input scale · scales[out] · bias codes."""

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]
    bits: Literal[4, 8] = 8
    """In which the codes are stored."""


def quantize_weights(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    input_scale: float,
    statistics: PatchStatistics | None = None,
) -> QuantizedWeights:
    """Quantize weights [out, in/group, …] and bias [out].

    With `statistics` of the layer's inputs weights are rounded one after the other, those left make up for the
    error so far (Frantar et al. 2022, "GPTQ"), and the bias takes up the mean error (Nagel et al. 2019). Without
    them, or their covariances, every weight goes to its nearest code.
    """
    exact = weight.astype(np.float64).reshape(len(weight), -1)
    scales = _scales(exact, bias.astype(np.float64), input_scale)
    corrected = bias.astype(np.float64)
    if statistics is None:
        codes = _nearest(exact / scales[:, None])
    else:
        groups = len(statistics.means)
        codes = _nearest(exact / scales[:, None])
        if statistics.covariances is not None:
            parts = zip(np.split(exact / scales[:, None], groups), statistics.covariances, strict=True)
            codes = np.concatenate([_compensated(part, covariance) for part, covariance in parts])
        error = np.split(codes * scales[:, None] - exact, groups)
        shift = [part @ means for part, means in zip(error, statistics.means, strict=True)]
        corrected = corrected - np.concatenate(shift)
    bias_codes = np.rint(corrected / (np.float64(np.float32(input_scale)) * scales))
    return QuantizedWeights(
        codes=codes.reshape(weight.shape).astype(np.int8),
        scales=scales.astype(np.float32),
        bias=np.clip(bias_codes, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32),
    )


def _scales(exact: Floats, bias: Floats, input_scale: float) -> Floats:
    """Per channel the scale that clips nothing; clipping was tried and biased the outputs towards 0."""
    scales: Floats = np.abs(exact).max(axis=1) / MAX_WEIGHT_CODE
    scales = np.maximum(scales, np.abs(bias) / (input_scale * _BIAS_LIMIT))
    scales[scales < np.finfo(np.float32).tiny] = 1.0  # an all-zero channel
    return np.asarray(scales.astype(np.float32), np.float64)


def _nearest(scaled: Floats) -> Floats:
    codes: Floats = np.clip(np.rint(scaled), -MAX_WEIGHT_CODE, MAX_WEIGHT_CODE)
    return codes


def _compensated(scaled: Floats, covariance: Floats) -> Floats:
    """Codes for weights [out, in] in units of their scale, given the covariance [in, in] of the inputs."""
    variance = np.diag(covariance)
    damping = _DAMPING * float(variance.mean())
    if damping <= 0:
        return _nearest(scaled)
    order = np.argsort(-variance, kind="stable")
    left = scaled[:, order].copy()
    damped = covariance[np.ix_(order, order)] + damping * np.eye(len(order))
    try:
        factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    except np.linalg.LinAlgError:  # inputs that hardly vary: their covariance is the rounding noise of its sums
        return _nearest(scaled)
    codes = np.empty_like(left)
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        errors = np.empty((len(left), stop - start))
        for column in range(start, stop):
            codes[:, column] = _nearest(left[:, column])
            error = (left[:, column] - codes[:, column]) / factor[column, column]
            left[:, column + 1 : stop] -= error[:, None] * factor[column, column + 1 : stop]
            errors[:, column - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    result = np.empty_like(codes)
    result[:, order] = codes
    return result
