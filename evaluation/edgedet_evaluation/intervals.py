"""95 % intervals: paired bootstrap over photos, Wilson's and Tango's intervals, medians, means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 1000


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
    found = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / trials, float(found.low), float(found.high))


def median_interval(values: Sequence[float]) -> Estimate:
    """The median and its distribution-free interval between order statistics (Conover 1999, section 3.2).

    The narrowest that covers the true median at least 19 times of 20; of fewer than six values, which no interval does
    that of, all that they span.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    # The r-th smallest value is above the median where fewer than r values are below: P(Binomial(n, ½) < r) ≤ 2.5 %.
    low = max(0, int(stats.binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5)) - 1)
    return Estimate(float(np.median(ordered)), float(ordered[low]), float(ordered[-1 - low]))


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean of independent draws and its interval by Student's t (1908); of one draw it is unbounded."""
    count = len(values)
    mean = float(np.mean(values))
    if count == 1:
        return Estimate(mean, -np.inf, np.inf)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
    return Estimate(mean, float(mean - reach), float(mean + reach))


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_], seed: int = 0) -> Estimate:
    """Share right of the second system minus that of the first, by whether each photo [n] was answered right.

    Resampling photos with replacement only ever moves the three counts (first alone right, second alone right, the
    rest), so that the bootstrap is a multinomial draw. Where both are right on the same photos it has no spread; the
    interval is Tango's (1998) then, ±z²/(n + z²).
    """
    photos = len(first)
    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    if not first_only + second_only:
        z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
        reach = z**2 / (photos + z**2)
        return Estimate(0.0, -reach, reach)
    shares = [first_only / photos, second_only / photos, 1 - (first_only + second_only) / photos]
    draws = np.random.default_rng(seed).multinomial(photos, shares, size=10 * RESAMPLES)
    replicates = (draws[:, 1] - draws[:, 0]) / photos
    return bootstrap_interval((second_only - first_only) / photos, replicates)
