"""Scales and zero points of activations: the range that loses least of a measured distribution."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVELS = 255
Floats = npt.NDArray[np.float64]

# Candidate ends of the range, as shares of the measured ends.
_SHARES = np.concatenate([np.linspace(0.15, 0.6, 10), np.linspace(0.625, 1.0, 31)])


@dataclass(frozen=True)
class Quantization:
    """value = scale · (code - zero_point), codes 0…most."""

    scale: float
    zero_point: int
    most: int = LEVELS

    @property
    def low(self) -> float:
        """The least value that has a code."""
        return -self.scale * self.zero_point

    @property
    def high(self) -> float:
        """The greatest value that has a code."""
        return self.scale * (self.most - self.zero_point)

    def codes(self, values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Nearest codes, halves to even, clipped."""
        exact = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        return np.asarray(np.clip(exact, 0, self.most), np.uint8)

    def values(self, codes: npt.NDArray[np.uint8]) -> Floats:
        """The values of codes."""
        return self.scale * (codes.astype(np.float64) - self.zero_point)


@dataclass
class Histogram:
    """A tensor's distribution in equal bins; its ends are the measured minimum and maximum (and 0)."""

    low: float
    high: float
    counts: Floats

    @property
    def centers(self) -> Floats:
        """The middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        return np.asarray(self.low + width * (np.arange(len(self.counts)) + 0.5), np.float64)


def covering(low: float, high: float) -> Quantization:
    """The quantization whose codes just cover [low, high] and hold 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 0:
        return Quantization(1.0 / LEVELS, 0)
    zero_point = int(np.clip(np.rint(-low / (high - low) * LEVELS), 0, LEVELS))
    needed = [-low / zero_point if zero_point else 0.0, high / (LEVELS - zero_point) if zero_point < LEVELS else 0.0]
    return Quantization(float(np.float32(max(needed))), zero_point)


def least_squares(histogram: Histogram, slope: float = 1.0) -> Quantization:
    """The range with the least mean squared error; below 0 an error counts slope² times.

    `slope` is that of a LeakyRelu that reads the codes: what it shrinks may be coarse.
    """
    best, best_error = covering(histogram.low, histogram.high), np.inf
    centers = histogram.centers
    weights = histogram.counts * np.where(centers < 0, slope * slope, 1.0)
    lows = histogram.low * _SHARES if histogram.low < 0 else np.zeros(1)
    highs = histogram.high * _SHARES if histogram.high > 0 else np.zeros(1)
    for low in lows:
        for high in highs:
            candidate = covering(float(low), float(high))
            error = _error(candidate, centers, weights)
            if error < best_error:
                best, best_error = candidate, error
    return best


def leaky_output(source: Quantization, histogram: Histogram, slope: float) -> Quantization:
    """The quantization of LeakyRelu's output that loses least, given the codes it reads."""
    reached = source.values(source.codes(histogram.centers))
    values = np.where(reached < 0, slope * reached, reached)
    truth = np.where(histogram.centers < 0, slope * histogram.centers, histogram.centers)
    best, best_error = covering(slope * source.low, source.high), np.inf
    # With the source's own scale every positive code stays exact; a finer one helps only what is negative.
    zero_points = range(int(np.ceil(slope * source.zero_point)), source.zero_point + 1)
    candidates = [Quantization(source.scale, zero_point) for zero_point in zero_points[:4]]
    candidates += [covering(slope * source.low, source.high * share) for share in _SHARES[-16:]]
    for candidate in candidates:
        error = float((histogram.counts * (candidate.values(candidate.codes(values)) - truth) ** 2).sum())
        if error < best_error:
            best, best_error = candidate, error
    return best


def _error(quantization: Quantization, centers: Floats, weights: Floats) -> float:
    return float((weights * (quantization.values(quantization.codes(centers)) - centers) ** 2).sum())
