"""Plots of a sweep: the figure against every axis of the grid that has several values, as SVG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from edgedet_evaluation.intervals import Estimate
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgedet_nvm.monte_carlo.grid import Condition
from edgedet_nvm.monte_carlo.summary import ConditionSummary
from edgedet_nvm.monte_carlo.sweep import Outcome


@dataclass(frozen=True, slots=True)
class Axis:
    """A field of conditions that a plot can run along."""

    field: str
    file: str
    label: str


_AXES = (
    Axis("sigma_scale", "sigma", "σ of the programming error, multiples of {sigma_of}"),
    Axis("adc_bits", "adc-bits", "bits of the converter"),
    Axis("rows", "rows", "rows of an array"),
    Axis("hours", "hours", "hours after programming"),
    Axis("temperature_c", "temperature", "temperature in °C"),
)
_UNITS = {
    "corner": "{}", "temperature_c": "{:g} °C", "hours": "{:g} h", "sigma_scale": "{:g} σ", "adc_bits": "{} bit",
    "rows": "{} rows",
}  # fmt: skip


def plots(summaries: Sequence[ConditionSummary], outcome: Outcome) -> dict[str, bytes]:
    """SVG by file name; of a grid without an axis of several numbers none."""
    varied = [axis for axis in _AXES if len(_values(summaries, axis.field)) > 1]
    return {f"accuracy-against-{axis.file}.svg": _plot(axis, summaries, outcome) for axis in varied}


def _plot(axis: Axis, summaries: Sequence[ConditionSummary], outcome: Outcome) -> bytes:
    """Means over chips with 95 % intervals, a curve for every combination of what else varies."""
    others = [field for field in _UNITS if field != axis.field and len(_values(summaries, field)) > 1]
    curves: dict[str, list[ConditionSummary]] = {}
    for entry in summaries:
        curves.setdefault(_named(entry.condition, others), []).append(entry)
    measured = outcome.header.measured
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(outcome.header.digital, color="0.6", linestyle="--", label="digital")
    for place, (name, entries) in enumerate(curves.items()):
        ordered = sorted(entries, key=lambda entry: getattr(entry.condition, axis.field))
        means = [entry.mean for entry in ordered]
        axes.errorbar(
            [getattr(entry.condition, axis.field) for entry in ordered],
            [mean.value for mean in means],
            yerr=error_bars(means),
            color=matplotlib.colormaps["viridis"](place / max(1, len(curves))),
            marker="o",
            markersize=3,
            capsize=3,
            label=name or f"mean of {len(ordered[0].values)} chips",
        )
    if axis.field == "hours":
        axes.set_xscale("symlog", linthresh=1)  # 0 h is among them
    axes.set_xlabel(axis.label.format(sigma_of=measured.sigma_of))
    axes.set_ylabel(f"{measured.figure} of {measured.package} on {measured.data}, n = {measured.photos:,}")
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgedet", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def error_bars(means: Sequence[Estimate]) -> NDArray[np.float64]:
    """How far the intervals reach below and above [2, n]; 0 where one chip leaves them unbounded."""
    found = np.array([[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]])
    return np.where(np.isfinite(found), found, 0.0)


def _values(summaries: Sequence[ConditionSummary], field: str) -> set[Any]:
    return {getattr(entry.condition, field) for entry in summaries}


def _named(condition: Condition, fields: Sequence[str]) -> str:
    return ", ".join(_UNITS[field].format(getattr(condition, field)) for field in fields)
