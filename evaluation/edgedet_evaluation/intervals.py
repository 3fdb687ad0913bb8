"""95 % intervals: paired bootstrap over photos, shares (Wilson), their paired differences (Tango), medians, means.

Scipy loads its parts when they are first used: its statistics take a second, which commands that measure nothing are
spared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000
_BESIDE = 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def of_share(self) -> "Estimate":
        """The interval cut at 0 and 1, which no share is beyond."""
        return Estimate(self.value, max(self.low, 0.0), min(self.high, 1.0))


def bootstrap_weights(photos: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each photo was drawn in each resample, [resamples, photos] (Efron 1979; rows sum to `photos`).

    One matrix for all systems compared is what makes their comparison paired.
    """
    shares = np.full(photos, 1 / photos)
    return np.random.default_rng(seed).multinomial(photos, shares, size=resamples)


def bootstrap_interval(value: float, replicates: NDArray[np.float64]) -> Estimate:
    """The basic bootstrap interval: the middle 95 % of replicates, reflected at the value.

    (Davison & Hinkley 1997, equation 5.6.) A resample repeats photos, which flatters rare categories' average
    precision; the reflection takes that bias out, where a plain percentile interval would keep it. Replicates that are
    NaN, of resamples without anything to measure, do not count.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return Estimate(value, float(2 * value - high), float(2 * value - low))


def bootstrap_share(value: float, replicates: NDArray[np.float64]) -> Estimate:
    """The same of a figure that lies in 0…1, where the reflection may reach beyond."""
    return bootstrap_interval(value, replicates).of_share()


def proportion(successes: int, trials: int) -> Estimate:
    """A share of independent trials with Wilson's interval (Wilson 1927)."""
    found = scipy.stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / trials, float(found.low), float(found.high))


def median_interval(values: Sequence[float]) -> Estimate:
    """The median and its distribution-free interval between order statistics (Conover 1999, section 3.2).

    The narrowest that covers the true median at least 19 times of 20; of fewer than six values, which no interval does
    that of, all that they span.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    # The r-th smallest value is above the median where fewer than r values are below: P(Binomial(n, ½) < r) ≤ 2.5 %.
    low = max(0, int(scipy.stats.binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5)) - 1)
    return Estimate(float(np.median(ordered)), float(ordered[low]), float(ordered[-1 - low]))


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean of independent draws and its interval by Student's t (1908); of one draw it is unbounded."""
    count = len(values)
    mean = float(np.mean(values))
    if count == 1:
        return Estimate(mean, -np.inf, np.inf)
    reach = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
    return Estimate(mean, float(mean - reach), float(mean + reach))


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Estimate:
    """Share right of the second system minus that of the first, by whether each photo [n] was answered right.

    Tango's score interval (1998): the differences δ that z = (b - c - n·δ) / √(n·(2·q + δ·(1 - δ))) does not refuse,
    where the second alone is right on b photos, the first alone on c, and q is the likeliest probability of the latter
    under δ. It has a width where both are right on the same photos, too, which a bootstrap has not.
    """
    photos = len(first)
    b, c = int((second & ~first).sum()), int((first & ~second).sum())
    difference = (b - c) / photos
    z = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))

    def excess(delta: float, sign: float) -> float:
        """Of the score over `sign`·z, times its deviation: it falls with δ."""
        linear = (2 * photos - b + c) * delta - b - c
        q = (np.sqrt(max(0.0, linear**2 + 8 * photos * c * delta * (1 - delta))) - linear) / (4 * photos)
        deviation = np.sqrt(max(0.0, photos * (2 * q + delta * (1 - delta))))
        return float(b - c - photos * delta - sign * z * deviation)

    # At the difference itself the deviation may be 0, as beyond all that is refused: the roots are beside it.
    low = -1.0 if difference == -1 else scipy.optimize.brentq(excess, -1.0, difference - _BESIDE, args=(1.0,))
    high = 1.0 if difference == 1 else scipy.optimize.brentq(excess, difference + _BESIDE, 1.0, args=(-1.0,))
    return Estimate(difference, float(low), float(high))
