"""A report as one HTML file that opens offline: figures, curves, photos before and after, channels by layer.

It knows values alone; whoever calls decides what is compared.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from edgedet_evaluation.intervals import Estimate
from edgedet_runtime.detection import Detections
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from edgedet_compression.reports import chart
from edgedet_compression.reports.chart import Chart, draw
from edgedet_compression.reports.latency import Latency

_PHOTO_SIDE, _JPEG_QUALITY = 480, 80


@dataclass(frozen=True)
class Accuracy:
    """A figure (0…1) with its 95 % interval; the difference to the first variant is paired."""

    figure: str
    value: Estimate
    minus_first: Estimate | None = None


@dataclass(frozen=True)
class Variant:
    """One network of the comparison; `file_bytes` are those of the file that would be shipped."""

    name: str
    accuracy: tuple[Accuracy, ...]
    parameters: int | None
    """None, as of `macs`: not known of a package whose network is not at hand."""
    sparsity: float
    """Share of weights that are zero."""
    macs: int | None
    file_bytes: int
    latency: Latency | None = None
    package: bool = False
    """As it is shipped; others are networks of stages on the way there."""


@dataclass(frozen=True)
class PhotoPair:
    """The same photo uint8 [height, width, 3] with what two networks find, in its pixels."""

    pixels: NDArray[np.uint8]
    before: Detections
    after: Detections
    captions: tuple[str, str]
    """Who found what is before and after."""


@dataclass(frozen=True)
class KeptChannels:
    """Output channels of a network's layers, and what each of its prunings left of them."""

    layers: tuple[str, ...]
    before: tuple[int, ...]
    after: Mapping[str, tuple[int, ...]]
    """By the stage that pruned."""


@dataclass(frozen=True)
class FigureTable:
    """A table of its own, as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReportContent:
    """All that a report shows; what is empty is left out. The first variant is what the others are compared with."""

    title: str
    summary: str
    steps: tuple[str, ...]
    """What was done, in order."""
    data: str
    """What accuracy was measured on."""
    command: str
    """What makes it again."""
    timed_on: str
    """What speed was measured on, and when."""
    variants: tuple[Variant, ...]
    charts: tuple[Chart, ...] = ()
    photos: tuple[PhotoPair, ...] = ()
    labels: tuple[str, ...] = ()
    channels: tuple[KeptChannels, ...] = ()
    tables: tuple[FigureTable, ...] = ()


@dataclass(frozen=True)
class _Box:
    """A rectangle over a photo, in its pixels."""

    x: float
    y: float
    width: float
    height: float
    label: str
    score: float
    color: str


@dataclass(frozen=True)
class _Picture:
    jpeg: str
    width: int
    height: int
    sides: tuple[tuple[str, tuple[_Box, ...]], ...]
    """A caption and the boxes under it."""


def write_report(content: ReportContent, file: Path) -> None:
    """Write the report."""
    environment = Environment(
        loader=PackageLoader("edgedet_compression", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "count": count, "size": size}
    first = content.variants[0]
    text = environment.get_template("report.html.j2").render(
        content=content,
        first=first,
        foremost=foremost(content.variants),
        drawings=[draw(each) for each in content.charts],
        chart=chart,
        pictures=[_picture(pair, content.labels) for pair in content.photos],
    )
    file.write_text(text, encoding="utf-8")


def foremost(variants: tuple[Variant, ...]) -> Variant:
    """What a report tells first: the most accurate package, or without one the most accurate of the small networks.

    Small is a file at most a tenth larger than the smallest; the first variant, which others are compared with, does
    not count. Chosen by the figures that are shown, it flatters as the best of a few does.
    """
    others = variants[1:] or variants
    smallest = min(each.file_bytes for each in others)
    small = [each for each in others if each.file_bytes <= 1.1 * smallest]
    packages = [each for each in others if each.package]
    return max(packages or small, key=lambda each: [accuracy.value.value for accuracy in each.accuracy[:1]])


def percent(share: float) -> str:
    """0.9312 as 93.12."""
    return f"{100 * share:.2f}"


def points(share: float) -> str:
    """-0.0021 as −0.21: a difference in percentage points."""
    return f"{100 * share:+.2f}".replace("-", "−")


def count(number: float) -> str:
    """14987722 as 14.99 M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.4g} {name}"
    return f"{number:g}"


def size(number: float) -> str:
    """Bytes as MB of 10^6, below that as kB."""
    return f"{number / 1e6:.2f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


def _picture(pair: PhotoPair, labels: tuple[str, ...]) -> _Picture:
    height, width = pair.pixels.shape[:2]
    scale = min(1.0, _PHOTO_SIDE / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.ascontiguousarray(cv2.resize(pair.pixels, shape, interpolation=cv2.INTER_AREA), np.uint8)
    jpeg = base64.b64encode(simplejpeg.encode_jpeg(small, quality=_JPEG_QUALITY)).decode()
    sides = tuple(
        (caption, tuple(_boxes(found, labels, scale)))
        for caption, found in zip(pair.captions, (pair.before, pair.after), strict=True)
    )
    return _Picture(jpeg, shape[0], shape[1], sides)


def _boxes(found: Detections, labels: tuple[str, ...], scale: float) -> list[_Box]:
    boxes = []
    for (x1, y1, x2, y2), score, label in zip(found.boxes * scale, found.scores, found.labels, strict=True):
        color = chart.COLORS[int(label) % len(chart.COLORS)]
        box = (float(x1), float(y1), float(x2 - x1), float(y2 - y1))
        boxes.append(_Box(*box, labels[int(label)], float(score), color))
    return boxes
