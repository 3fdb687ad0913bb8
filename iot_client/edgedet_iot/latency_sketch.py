"""Quantiles of latencies in bounded memory, so that a stream may run for months.

Geometric buckets (DDSketch: Masson, Rim & Lee 2019): a quantile is off by at most 1 % of its value.
"""

import math
from collections import Counter

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SHORTEST_MS = 1e-3


class LatencySketch:
    """Counts of latencies by bucket (γ^(i−1), γ^i] milliseconds."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: Counter[int] = Counter()

    def add(self, latency_ms: float) -> None:
        """Count one; less than a microsecond counts as one."""
        self._buckets[math.ceil(math.log(max(latency_ms, _SHORTEST_MS), _GAMMA))] += 1
        self.count += 1

    def quantile_ms(self, q: float) -> float | None:
        """The latency that a share `q` of all does not exceed (0 ≤ q ≤ 1); None while nothing was counted."""
        if not 0 <= q <= 1:
            raise ValueError(f"q = {q} is not between 0 and 1")
        rank = max(1, math.ceil(q * self.count))  # the nearest: the p99 of ten is the slowest
        seen = 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                return float(2 * _GAMMA**index / (_GAMMA + 1))
        return None
