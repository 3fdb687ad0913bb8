"""Smoothed rates and link estimates; the clock is passed in, in seconds."""

import math
from collections import deque
from dataclasses import dataclass, field

_TAU_S = 1.0
_LINK_WEIGHT = 0.3
_SERVICE_WEIGHT = 0.05
_MOST = 100.0
"""Times the average that one request counts at most: it may be the machine that stood still in its middle. As much as a
large model among a hundred small ones takes has to count."""
_FASTEST_BYTES_MS = 1.25e6
"""10 Gbit/s: on a link that fast the wire time is a small difference of large times and may come out as nothing."""
_TRUSTED_S = 10.0
_TRUSTED_WIRE_TIMES = 150.0
"""Three intervals of probing on a slow link."""
_REMEMBERED_RATIOS = 100


@dataclass(slots=True)
class Level:
    """Average of a level that changes in steps (busy workers, a wire in use), exponential with τ = 1 s."""

    _average: float = 0.0
    _level: float = 0.0
    _since_s: float = 0.0

    def set(self, level: float, now_s: float) -> None:
        """The level is `level` from now on."""
        self._average = self.at(now_s)
        self._level, self._since_s = level, now_s

    def at(self, now_s: float) -> float:
        """The average at `now_s`."""
        return self._level + (self._average - self._level) * _kept(now_s - self._since_s)


@dataclass(slots=True)
class Rate:
    """Events a millisecond, exponential with τ = 1 s."""

    _per_s: float = 0.0
    _last_s: float = 0.0

    def event(self, now_s: float) -> None:
        """Count one."""
        self._per_s = self._per_s * _kept(now_s - self._last_s) + 1.0 / _TAU_S
        self._last_s = now_s

    def per_ms(self, now_s: float) -> float:
        """The rate at `now_s`."""
        return self._per_s * _kept(now_s - self._last_s) / 1000.0


@dataclass(slots=True)
class ServiceTime:
    """Moving average of work per request, weight 0.05."""

    mean_ms: float

    def observe(self, work_ms: float) -> None:
        """A request took `work_ms`."""
        self.mean_ms += _SERVICE_WEIGHT * (min(work_ms, _MOST * self.mean_ms) - self.mean_ms)


@dataclass(slots=True)
class RoundTrip:
    """Round trip of an empty call, weight 0.3; None until measured. After 10 s a new measurement counts alone."""

    rtt_ms: float | None = None
    _measured_s: float = float("-inf")

    def observe(self, rtt_ms: float, now_s: float) -> None:
        """A call without payload or service took `rtt_ms`."""
        known = None if self.is_old(now_s) else self.rtt_ms
        self.rtt_ms = rtt_ms if known is None else known + _LINK_WEIGHT * (rtt_ms - known)
        self._measured_s = now_s

    def is_old(self, now_s: float) -> bool:
        """Whether it was never measured, or longer ago than it can be trusted."""
        return now_s - self._measured_s > _TRUSTED_S


@dataclass(slots=True)
class Bandwidth:
    """Bytes a millisecond of a link, weight 0.3; unknown until measured and when too long unused."""

    _bytes_ms: float | None = None
    _measured_s: float = float("-inf")
    _wire_ms: float = 0.0

    def observe(self, nbytes: float, wire_ms: float, now_s: float) -> None:
        """`nbytes` took `wire_ms`, own queueing, service and round trip left out."""
        rate = min(nbytes / max(wire_ms, 1e-3), _FASTEST_BYTES_MS)
        known = self.bytes_ms(now_s)
        self._bytes_ms = rate if known is None else known + _LINK_WEIGHT * (rate - known)
        self._measured_s, self._wire_ms = now_s, wire_ms

    def at_most(self, nbytes: float, wire_ms: float, now_s: float) -> None:
        """`nbytes` were not there after `wire_ms`: an estimate that says they should be is wrong."""
        rate, known = nbytes / max(wire_ms, 1e-3), self.bytes_ms(now_s)
        if known is not None and rate < known:
            self._bytes_ms, self._measured_s, self._wire_ms = rate, now_s, wire_ms

    def bytes_ms(self, now_s: float) -> float | None:
        """The estimate; None when there is none, or it is older than 10 s and three intervals of probing."""
        trusted_s = max(_TRUSTED_S, _TRUSTED_WIRE_TIMES * self._wire_ms / 1000.0)
        return self._bytes_ms if now_s - self._measured_s <= trusted_s else None

    def age_s(self, now_s: float) -> float | None:
        """Time since the last measurement; None before the first."""
        return None if self._bytes_ms is None else now_s - self._measured_s


@dataclass(slots=True)
class RatioQuantile:
    """Quantiles of actual/predicted over the last 100 calls."""

    _ratios: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_RATIOS))

    def observe(self, predicted_ms: float, actual_ms: float) -> None:
        """A call predicted to take `predicted_ms` took `actual_ms`."""
        self._ratios.append(actual_ms / max(predicted_ms, 1e-3))

    def quantile(self, q: float) -> float:
        """The q-quantile (nearest rank); 1 while nothing is known."""
        if not self._ratios:
            return 1.0
        return sorted(self._ratios)[max(0, math.ceil(q * len(self._ratios)) - 1)]


def _kept(elapsed_s: float) -> float:
    return math.exp(-max(0.0, elapsed_s) / _TAU_S)
