"""The HTML report: one file that needs nothing else, with all that it was given, escaped and small."""

import dataclasses
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from edgedet_compression.reports.chart import Chart, Curve, draw, logarithmic_ticks, round_ticks
from edgedet_compression.reports.html_report import (
    Accuracy,
    KeptChannels,
    PhotoPair,
    ReportContent,
    Variant,
    count,
    foremost,
    points,
    size,
    write_report,
)
from edgedet_compression.reports.latency import Latency
from edgedet_evaluation.intervals import Estimate
from edgedet_runtime.detection import Detections
from edgedet_runtime.photo import decode_photo
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.needs_torch  # jinja2 comes with the compression extra, as torch does

_VOID = {"meta", "link", "br", "img", "hr", "input"}
BOX = Detections(np.array([[30, 40, 200, 240]], np.float32), np.array([0.87], np.float32), np.array([1]))
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def content(photos: list[Path]) -> ReportContent:
    latency = Latency(Estimate(12.5, 12.0, 13.0), Estimate(11.9, 11.5, 12.3), 80.0, 1_000)
    accuracy = Accuracy("mAP50", Estimate(0.9012, 0.88, 0.92))
    pruned = dataclasses.replace(accuracy, minus_first=Estimate(-0.0071, -0.0165, 0.0025))
    curve = Curve("teacher", tuple((epoch, 1 / epoch) for epoch in range(1, 61)))
    pixels = [np.ascontiguousarray(decode_photo(photo.read_bytes()).pixels[:, :, :3]) for photo in photos]
    return ReportContent(
        title="Cells <script>alert(1)</script>",
        summary="Pruned & quantized",
        steps=("train", "prune"),
        data="bccd/test, 72 photos",
        command="edgedet-compress run cells",
        timed_on="ONNX Runtime 1.0, a processor, 2026-01-31",
        variants=(
            Variant("fp32", (accuracy,), 61_523_734, 0.0, 32_700_000_000, 246_800_000),
            Variant("int8", (pruned,), 7_680_000, 0.96, 8_900_000_000, 7_950_000, latency),
        ),
        charts=(Chart("Loss", "epoch", "loss", (curve,)),),
        photos=tuple(PhotoPair(each, BOX, NOTHING, ("fp32", "cells:1")) for each in pixels),
        labels=("<ant>", "<bee>"),
        channels=(KeptChannels(("conv0", "conv1"), (32, 64), {"thinned": (24, 16), "by-norm": (8, 64)}),),
    )


@pytest.fixture
def html(tmp_path: Path, sample_photos: list[Path]) -> str:
    write_report(content(sample_photos), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class _Balance(HTMLParser):
    """Checks that every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_opens_offline(html: str):
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", html)
    assert "<script" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_every_element_is_closed(html: str):
    parser = _Balance()
    parser.feed(html)
    assert parser.open == []


def test_text_of_others_is_escaped(html: str):
    assert "Cells &lt;script&gt;" in html
    assert "Pruned &amp; quantized" in html
    assert "&lt;bee&gt; 87" in html


def _small(name: str, value: float, file_bytes: int) -> Variant:
    return Variant(name, (Accuracy("top1", Estimate(value, value, value)),), 1_000, 0.0, 1_000, file_bytes)


def test_the_most_accurate_of_the_small_networks_comes_first():
    dense, best, least, large = (
        _small("dense", 0.93, 60_000_000),
        _small("best", 0.92, 2_240_000),
        _small("least", 0.91, 2_220_000),
        _small("large", 0.925, 2_500_000),
    )
    assert foremost((dense, large, best, least)) is best
    assert foremost((dense, large, least)) is least
    assert foremost((dense,)) is dense
    unmeasured = replace(best, accuracy=())
    assert foremost((dense, unmeasured, least)) is least
    package = replace(least, name="package", package=True)
    assert foremost((dense, best, package)) is package


def test_what_stands_first_need_not_be_the_last(tmp_path: Path):
    variants = tuple(_small(name, value, 1_000) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.7)))
    write_report(replace(content([]), variants=variants), tmp_path / "report.html")
    assert "“b” beside “a”" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_it_holds_what_it_was_given(html: str):
    for text in (
        "90.12",
        "−0.71 (−1.65 … +0.25)",
        "61.52 M",
        "246.80 MB",
        "96.00 %",
        "11.90 ×",
        "80 images",
        "÷ 8.01",
    ):
        assert text in html, text
    assert html.count("<polyline") == 1


def test_prunings_of_one_network_stand_beside_each_other(html: str):
    columns = re.search(r'<table class="layers">\s*<thead>(.*)</thead>', html)
    assert columns
    assert re.findall("<th>(.*?)</th>", columns[1]) == ["layer", "before", "thinned", "by-norm"]
    row = re.search(r"<td>conv0</td><td>32</td>(.*?)</tr>", html, re.DOTALL)
    assert row
    assert re.findall("<span>(.*?)</span>", row[1]) == ["24", "75 %", "8", "25 %"]
    assert re.findall(r"width: ([\d.]+)%", row[1]) == ["75.0", "25.0"]


def test_curves_of_one_color_differ_in_their_stroke(tmp_path: Path):
    curves = tuple(Curve(f"run {number}", ((0.0, 1.0), (1.0, float(number)))) for number in range(14))
    looks = {(line.color, line.stroke) for line in draw(Chart("many", "x", "y", curves)).lines}
    assert len(looks) == 14
    write_report(replace(content([]), charts=(Chart("many", "x", "y", curves),)), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [html.count(f"border-top-style: {stroke}") for stroke in ("solid", "dashed", "dotted")] == [6, 6, 2]
    assert html.count("stroke-dasharray") == 8


def test_what_is_as_large_as_before_is_called_so(tmp_path: Path, sample_photos: list[Path]):
    made = content(sample_photos)
    first, second = made.variants
    write_report(replace(made, variants=(first, replace(second, parameters=61_900_000))), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<b>the same</b>") == 1


def test_photos_are_small_and_stored_once(html: str, sample_photos: list[Path]):
    assert html.count("data:image/jpeg") == len(sample_photos)
    assert html.count('<use href="#photo-') == len(sample_photos)
    assert len(html.encode()) < 2e6


def test_photos_are_captioned_with_who_found_the_boxes(html: str):
    assert "Photo 1, fp32: 1 found" in html
    assert "Photo 1, cells:1: 0 found" in html


def test_what_is_not_known_of_a_package_has_a_dash(tmp_path: Path):
    full = content([])
    unknown = dataclasses.replace(full.variants[1], parameters=None, macs=None)
    write_report(dataclasses.replace(full, variants=(full.variants[0], unknown)), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<span class="soft">parameters</span>' not in html
    assert html.count("<td>–</td>") == 3, "and the zeros of the first network"


def test_what_is_empty_is_left_out(tmp_path: Path):
    full = content([])
    bare = dataclasses.replace(full, variants=full.variants[:1], charts=(), channels=())
    write_report(bare, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for heading in ("Training", "Before and after", "Channels kept"):
        assert heading not in html
    assert 'class="tiles"' not in html


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 6)), min_size=1, max_size=20))
def test_ticks_surround_all_values_and_are_few(values: list[float]):
    ticks = round_ticks(values)
    slack = 1e-6 * (ticks[1] - ticks[0])
    assert ticks[0] <= min(values) + slack
    assert ticks[-1] >= max(values) - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


def test_a_chart_of_one_point_is_drawn():
    drawing = draw(Chart("one", "x", "y", (Curve("a", ((1.0, 0.0),)),)))
    assert re.fullmatch(r"[\d.]+,[\d.]+", drawing.lines[0].points)


@pytest.mark.parametrize(("positive", "apart"), [(True, True), (False, False)])
def test_losses_over_a_wide_range_are_drawn_apart(positive: bool, apart: bool):
    curves = (Curve("penalty", ((1.0, 18.0), (2.0, 1.6))), Curve("loss", ((1.0, 0.5), (22.0, 0.08))))
    chart = Chart("Loss", "epoch", "loss", curves, positive)
    drawing = draw(chart)
    heights = [float(y) for line in drawing.lines for _, y in line.places]
    assert heights == sorted(heights), "smaller is lower, on a screen further down"
    assert chart.logarithmic is apart
    assert (heights[3] - heights[2] > 50) is apart
    wanted = ["0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20"] if apart else ["0", "5", "10", "15", "20"]
    assert [tick.text for tick in drawing.y_ticks] == wanted


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=5).filter(lambda values: max(values) > 20 * min(values)))
def test_logarithmic_ticks_enclose_the_values(values: list[float]):
    ticks = logarithmic_ticks(values)
    assert ticks[0] <= min(values) * (1 + 1e-6)
    assert ticks[-1] >= max(values) * (1 - 1e-6)
    assert ticks == sorted(set(ticks))
    assert 3 <= len(ticks) <= 14


def test_losses_of_a_narrow_range_keep_a_linear_axis():
    assert not Chart("Loss", "epoch", "loss", (Curve("loss", ((1.0, 2.0), (2.0, 0.2))),), positive=True).logarithmic


def test_a_curve_of_one_point_is_a_dot(tmp_path: Path):
    chart = Chart("Loss", "epoch", "loss", (Curve("short", ((1.0, 0.5),)), Curve("long", ((1.0, 0.5), (2.0, 0.25)))))
    write_report(dataclasses.replace(content([]), charts=(chart,)), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<polyline") == 1
    (dot,) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)
    assert f'points="{",".join(dot)} ' in html, "where the other curve begins"


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (count(14_987_722), "14.99 M"),
        (count(32.7e9), "32.7 G"),
        (count(950), "950"),
        (size(7_950_000), "7.95 MB"),
        (size(44_426), "44.4 kB"),
        (points(-0.0021), "−0.21"),
        (points(0.001), "+0.10"),
    ],
)
def test_numbers_read_well(shown: str, wanted: str):
    assert shown == wanted
