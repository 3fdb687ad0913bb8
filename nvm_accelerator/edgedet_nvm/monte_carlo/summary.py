"""What a sweep says of each condition: mean over chips with its interval, as rows and as CSV."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgedet_evaluation.intervals import Estimate, mean_interval

from edgedet_nvm.monte_carlo.grid import Condition
from edgedet_nvm.monte_carlo.sweep import Outcome

_COLUMNS = (
    "corner", "temperature_c", "hours", "sigma_scale", "sigma_of", "adc_bits", "rows", "chips",
    "mean", "low", "high", "worst_chip", "best_chip", "digital", "mean_minus_digital",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConditionSummary:
    """All chips under one condition."""

    condition: Condition
    values: tuple[float, ...]
    """The figure (0…1) of every chip."""

    @property
    def mean(self) -> Estimate:
        """Over chips, with the 95 % interval of what more chips would give on these photos; cut at 0 and 1."""
        found = mean_interval(self.values)
        return found if len(self.values) == 1 else found.of_share()  # of one chip it is unbounded


def summarize(outcome: Outcome) -> tuple[ConditionSummary, ...]:
    """One summary per condition, in the order in which they were measured."""
    return tuple(
        ConditionSummary(condition, tuple(result.value for result in results))
        for condition, results in itertools.groupby(outcome.results, key=lambda result: result.condition)
    )


def as_csv(summaries: Sequence[ConditionSummary], outcome: Outcome) -> str:
    """A line per condition; an interval that one chip alone leaves unbounded is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    digital = outcome.header.digital
    for entry in summaries:
        mean = entry.mean
        writer.writerow(
            entry.condition.model_dump()
            | {
                "sigma_of": outcome.header.measured.sigma_of,
                "chips": len(entry.values),
                "mean": _rounded(mean.value),
                "low": _rounded(mean.low),
                "high": _rounded(mean.high),
                "worst_chip": _rounded(min(entry.values)),
                "best_chip": _rounded(max(entry.values)),
                "digital": _rounded(digital),
                "mean_minus_digital": _rounded(mean.value - digital),
            }
        )
    return text.getvalue()


def _rounded(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""
