"""Line charts: from curves to the geometry that the report's template draws as SVG."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 38
Stroke = Literal["solid", "dashed", "dotted"]
# Okabe & Ito's palette, which people with any color vision can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_STROKES: tuple[Stroke, ...] = ("solid", "dashed", "dotted")
"""Of the curves with the first turn of colors, with the second, …"""

_WIDE = 20.0
"""Largest over smallest: beyond it the lower curves of a linear axis lie on its floor."""


@dataclass(frozen=True)
class Curve:
    """Points (x, y) by rising x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over the same axes."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    positive: bool = False
    """Whether y is above 0 and ratios of it count, as of a loss: a wide range then has a logarithmic axis."""

    @property
    def logarithmic(self) -> bool:
        """Whether y has a logarithmic axis."""
        values = [y for curve in self.curves for _, y in curve.points]
        return self.positive and min(values) > 0 and max(values) > _WIDE * min(values)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in pixels, and what it says."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve in pixels."""

    name: str
    color: str
    stroke: Stroke
    places: tuple[tuple[str, str], ...]

    @property
    def points(self) -> str:
        """As SVG's polyline takes them, which draws nothing where there is one alone."""
        return " ".join(f"{x},{y}" for x, y in self.places)


@dataclass(frozen=True)
class Drawing:
    """A chart in pixels."""

    chart: Chart
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def draw(chart: Chart) -> Drawing:
    """Lay a chart out; its curves hold at least one point in all."""
    points = [point for curve in chart.curves for point in curve.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks = round_ticks(xs)
    y_ticks = logarithmic_ticks(ys) if chart.logarithmic else round_ticks(ys)
    across = _scale(x_ticks, LEFT, WIDTH - RIGHT)
    down = _scale(y_ticks, HEIGHT - BOTTOM, TOP, math.log10 if chart.logarithmic else float)
    lines = [
        Line(
            curve.name,
            COLORS[place % len(COLORS)],
            _STROKES[place // len(COLORS) % len(_STROKES)],
            tuple((f"{across(x):.1f}", f"{down(y):.1f}") for x, y in curve.points),
        )
        for place, curve in enumerate(chart.curves)
    ]
    return Drawing(
        chart,
        tuple(Tick(across(x), f"{x:g}") for x in x_ticks),
        tuple(Tick(down(y), f"{y:g}") for y in y_ticks),
        tuple(lines),
    )


def round_ticks(values: list[float], most: int = 6) -> list[float]:
    """Round numbers at equal distances from at or below the smallest value to at or above the largest."""
    low, high = min(values), max(values)
    rough = (high - low) / (most - 1) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def logarithmic_ticks(values: list[float], most: int = 10) -> list[float]:
    """1, 2 and 5 of every power of ten, where these are too many the powers alone; they enclose values above 0."""
    low, high = min(values) * (1 + 1e-9), max(values) * (1 - 1e-9)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        marks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        first = max(place for place, mark in enumerate(marks) if mark <= low)
        last = min(place for place, mark in enumerate(marks) if mark >= high)
        if last - first < most:
            break
    return marks[first : last + 1]


def _scale(
    ticks: list[float], start: float, end: float, along: Callable[[float], float] = float
) -> Callable[[float], float]:
    """Pixels of a value; equal steps of `along` are equally far."""
    first, last = along(ticks[0]), along(ticks[-1])
    return lambda value: start + (end - start) * (along(value) - first) / (last - first)
