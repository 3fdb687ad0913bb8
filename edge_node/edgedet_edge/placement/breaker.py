"""A circuit breaker per cloud; the clock is passed in.

Closed until one connection error or three late answers in a row; then open for 0.5 s, doubling to 2 s, ±20 %; then
half-open: one probe decides.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

_FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 2.0
SPREAD = 0.2
_LATE_IN_A_ROW = 3


class BreakerState(StrEnum):
    """Published with every cloud."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """State of one cloud's breaker."""

    _late: int = 0
    _pause_s: float = 0.0
    """Length of the current or last pause before jitter; 0 while closed."""
    _until_s: float = 0.0

    def state(self, now_s: float) -> BreakerState:
        """Open until the pause is over, then half-open until a probe's outcome."""
        if not self._pause_s:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._until_s else BreakerState.HALF_OPEN

    def succeeded(self) -> None:
        """An answer or a refusal came in time: the cloud is alive."""
        self._late = 0
        self._pause_s = 0.0

    def came_late(self, now_s: float, rng: Random) -> None:
        """A call ran over its hedge timer."""
        self._late += 1
        if self._late >= _LATE_IN_A_ROW or self.state(now_s) is BreakerState.HALF_OPEN:
            self.failed(now_s, rng)

    def failed(self, now_s: float, rng: Random) -> None:
        """A connection error, or a probe that failed. While open nothing new is learned."""
        if self.state(now_s) is BreakerState.OPEN:
            return
        self._late = 0
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if self._pause_s else _FIRST_PAUSE_S
        self._until_s = now_s + self._pause_s * (1.0 + SPREAD * (2.0 * rng.random() - 1.0))
