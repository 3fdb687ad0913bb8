"""Probes: an unused link is measured again, not trusted; without them "stay at home" would never end.

A probe is a call of fewest bytes that nobody waits for.
"""

from dataclasses import dataclass

from edgedet_edge.placement.breaker import BreakerState

_SILENCE_S = 1.0
LONGEST_INTERVAL_S = 60.0
"""However slow the link was: it may be better now."""
_WIRE_TIMES = 50.0


def probe_interval_s(wire_ms: float) -> float:
    """At least a second, and long enough that probes take at most 2 % of the wire."""
    return min(max(_SILENCE_S, _WIRE_TIMES * wire_ms / 1000.0), LONGEST_INTERVAL_S)


@dataclass(slots=True)
class ProbeSchedule:
    """When one cloud was last heard of and last probed."""

    _heard_s: float = float("-inf")
    _asked_s: float = float("-inf")
    _in_flight: bool = False

    def heard(self, now_s: float) -> None:
        """A reply came, to whatever call."""
        self._heard_s = now_s

    def asked(self, now_s: float) -> None:
        """A probe starts; `ended` has to follow, whatever becomes of it."""
        self._asked_s = now_s
        self._in_flight = True

    def ended(self) -> None:
        """The probe was answered, failed or timed out."""
        self._in_flight = False

    def due(self, now_s: float, breaker: BreakerState, outstanding: int, wire_ms: float | None) -> bool:
        """Whether this cloud should be asked now.

        `outstanding` are calls to it without an outcome; `wire_ms` a probe's predicted time on the wire, None while
        the bandwidth is unknown.
        """
        if self._in_flight or breaker is BreakerState.OPEN:
            return False
        if breaker is BreakerState.HALF_OPEN:
            return True
        if outstanding:
            return False
        return now_s - max(self._heard_s, self._asked_s) > probe_interval_s(wire_ms or 0.0)
