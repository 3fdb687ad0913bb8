"""Retention: how the currents of programmed cells move in the hours after."""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edgedet_nvm.device.normal_draws import normal_draws
from edgedet_nvm.device.record import NotNegative, Positive, Record
from edgedet_nvm.device.transistor import Transistor
from edgedet_nvm.errors import OutOfRange

Currents = NDArray[np.float64]


class ChargeLoss(Record):
    """A floating gate loses a share of its charge per decade of time: log-time loss towards the neutral charge.

    v(t) = v + (v_neutral - v)·s·log10(1 + t/t0): cells above the neutral current lose current, cells below gain it.
    """

    law: Literal["charge-loss"]
    share_per_decade: Annotated[float, Field(ge=0, le=0.1)]
    """s: share of the distance to the neutral charge, per decade of time."""
    t0_h: Positive
    neutral_na: Positive
    """Current of a cell without any charge on its gate, in nA."""
    max_hours: Positive
    """Beyond it the law is not claimed to hold."""

    @model_validator(mode="after")
    def _never_beyond_neutral(self) -> Self:
        if (lost := self._lost(self.max_hours)) > 1:
            raise ValueError(
                f"share_per_decade: after max_hours {lost:.0%} of the charge would be lost; lower it or max_hours, or "
                "raise t0_h"
            )
        return self

    def _lost(self, hours: float) -> float:
        """Share of the distance to the neutral charge."""
        return self.share_per_decade * float(np.log10(1 + hours / self.t0_h))

    def moved(self, current_na: Currents, hours: float, transistor: Transistor) -> Currents:
        """Currents after `hours`, in nA; cells without any current stay so."""
        lost = self._lost(hours)
        now_v = transistor.overdrive_v(current_na)
        neutral_v = float(transistor.overdrive_v(np.asarray(self.neutral_na)))
        conducts = np.isfinite(now_v)
        moved_v = np.where(conducts, now_v + (neutral_v - np.where(conducts, now_v, 0.0)) * lost, now_v)
        return transistor.current_na(moved_v)


class MeasuredDrift(Record):
    """Mean drift and spread of measured cells, between the times of measurement linear in log(1 + t/t0).

    The spread at time t was measured over all cells, programming error included; a chip keeps its programming error and
    adds an independent draw of variance σ(t)² - σ(0)², the same draw at every time: cells age, they are not replaced.
    """

    law: Literal["measured"]
    t0_h: Positive
    hours: tuple[NotNegative, ...] = Field(min_length=2)
    """Times of measurement, from 0."""
    current_na: tuple[NotNegative, ...] = Field(min_length=2)
    """Currents at time 0 that `drift_na` is told for."""
    drift_na: tuple[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], ...]
    """Mean change, in nA: a row per time, a column per current."""
    a_na: tuple[Positive, ...]
    b_na: tuple[Positive, ...]
    """σ(I) = A·(1 - exp(-I/B)) at every time, in nA."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not len(self.hours) == len(self.drift_na) == len(self.a_na) == len(self.b_na):
            raise ValueError("drift_na, a_na and b_na: one entry for each of `hours`")
        if any(len(row) != len(self.current_na) for row in self.drift_na):
            raise ValueError("drift_na: every row needs one value for each of `current_na`")
        if self.hours[0] != 0 or np.any(np.diff(self.hours) <= 0) or np.any(np.diff(self.current_na) <= 0):
            raise ValueError("hours must rise from 0, and current_na must rise")
        return self

    @property
    def max_hours(self) -> float:
        """Time of the last measurement."""
        return self.hours[-1]

    def moved(self, current_na: Currents, hours: float, rng: np.random.Generator) -> Currents:
        """Currents after `hours`, in nA: mean drift, and a draw per cell for what drifts otherwise."""
        when, known = np.log1p(hours / self.t0_h), np.log1p(np.asarray(self.hours) / self.t0_h)
        drift_na = [np.interp(when, known, column) for column in np.asarray(self.drift_na).T]
        a_na, b_na = (float(np.interp(when, known, column)) for column in (self.a_na, self.b_na))
        variance = _variance(current_na, a_na, b_na) - _variance(current_na, self.a_na[0], self.b_na[0])
        moved_na: Currents = current_na + np.interp(current_na, self.current_na, drift_na)
        moved_na += np.sqrt(np.maximum(variance, 0)) * normal_draws(rng.bit_generator, current_na.shape)
        return moved_na.clip(min=0)


def _variance(current_na: Currents, a_na: float, b_na: float) -> Currents:
    return (a_na * -np.expm1(-current_na / b_na)) ** 2


Retention = Annotated[ChargeLoss | MeasuredDrift, Field(discriminator="law")]


def aged(
    current_na: Currents,
    hours: float,
    retention: Retention,
    transistor: Transistor | None,
    rng: np.random.Generator,
) -> Currents:
    """Currents `hours` after programming, in nA.

    Raises:
        OutOfRange: before programming, or later than the law holds.
    """
    if not 0 <= hours <= retention.max_hours:
        raise OutOfRange(f"hours: {hours:g} is outside of what the preset's retention holds, 0…{retention.max_hours:g}")
    if hours == 0:
        return current_na
    if isinstance(retention, ChargeLoss):
        assert transistor is not None  # the preset checks it
        return retention.moved(current_na, hours, transistor)
    return retention.moved(current_na, hours, rng)
