"""Hedging: when a handover is overdue the tail starts elsewhere too, within a budget.

It is insurance against dead clouds. "At the last safe moment" would double the work of a healthy but busy system, so
the timer follows what handovers really take, and tokens bound the extra work.
"""

from dataclasses import dataclass, field

from edgedet_edge.placement.estimators import RatioQuantile

REARM_MS = 20.0
"""Overdue, but the tensor still waits for our own wire: look again after this; the cloud is not to blame."""
_SLACK, _SLACK_MS = 1.25, 5.0
SHARE, CAP = 0.02, 10.0
_BUSY_EDGE = 0.9


@dataclass(slots=True)
class Hedging:
    """Timer and budget of one node."""

    _tokens: float = CAP
    _ratio: RatioQuantile = field(default_factory=RatioQuantile)

    def timer_ms(self, predicted_ms: float) -> float:
        """When a handover predicted to take `predicted_ms` is overdue."""
        return predicted_ms * max(1.0, self._ratio.quantile(0.95)) * _SLACK + _SLACK_MS

    def answered(self, predicted_ms: float, actual_ms: float) -> None:
        """Follow how predictions turn out."""
        self._ratio.observe(predicted_ms, actual_ms)

    def handed_over(self) -> None:
        """Every handover earns a fiftieth of a hedge."""
        self._tokens = min(self._tokens + SHARE, CAP)

    def take(self, edge_utilization: float, *, breaker_open: bool) -> bool:
        """Whether a hedge may start now; costs a token unless the cloud is known to be gone."""
        if breaker_open:
            return True
        if edge_utilization > _BUSY_EDGE or self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
