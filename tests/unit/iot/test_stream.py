import asyncio
import itertools
import math
import random
import time
from pathlib import Path
from statistics import mean, pstdev

import pytest
from edgedet_iot import photos_in, stream
from edgedet_iot.answers import Detections, read_detections
from edgedet_iot.stream import _send, send_times_s
from edgedet_iot.stream_report import Tally

from tests.unit.iot.test_answers import DETECTIONS, EDGE


def test_regular_arrivals_have_equal_gaps_and_do_not_drift():
    times = list(itertools.islice(send_times_s(3.0, "regular", random.Random(1)), 3001))
    assert times[0] == 0
    assert times[3000] == pytest.approx(1000, abs=1e-9)


def test_poisson_arrivals_have_exponential_gaps_of_the_rate():
    times = list(itertools.islice(send_times_s(50.0, "poisson", random.Random(1)), 20_000))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert mean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert pstdev(gaps) == pytest.approx(1 / 50, rel=0.03)


def test_a_photo_sent_late_counts_from_its_intended_time():
    left_s = []

    async def ask(_: Path, deadline_s: float) -> Detections:
        left_s.append(deadline_s)
        return read_detections(DETECTIONS, EDGE)

    tally = Tally(10.0)
    asyncio.run(_send(ask, Path("a.jpg"), time.monotonic() - 2, 10.0, tally))
    assert left_s[0] <= 8
    row = tally.report(1.0).by_placement["all"]
    assert row.p50_ms is not None
    assert row.p50_ms >= 1980


def test_a_seed_makes_the_arrivals_repeatable():
    one, two = (list(itertools.islice(send_times_s(5, "poisson", random.Random(7)), 50)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_rate_must_be_above_zero_and_finite(rate):
    with pytest.raises(ValueError, match="rate"):
        asyncio.run(stream("http://a:1", [Path("a.jpg")], rate=rate, seconds=1))


@pytest.mark.parametrize("seconds", [0, math.nan])
def test_a_length_must_be_above_zero(seconds):
    with pytest.raises(ValueError, match="seconds"):
        asyncio.run(stream("http://a:1", [Path("a.jpg")], rate=1, seconds=seconds))


def test_photos_are_the_jpeg_and_png_files_of_a_folder_by_name(tmp_path):
    for name in ("b.JPG", "a.png", "c.jpeg", "notes.txt", "d.webp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in photos_in(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
