"""What the node measured over the last minute."""

import json
import math
import time
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from ddsketch import DDSketch
from edgedet_edge.measurements import (
    PLACEMENTS,
    STAGES,
    Bucket,
    Measurements,
    Timing,
    latency_report,
    offload_report,
    seconds_counted,
    seconds_covered,
)
from hypothesis import given
from hypothesis import strategies as st

ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(PLACEMENTS),
        st.integers(0, 7),
        st.sampled_from(("cheaper", "deadline", "no-cloud")),
        st.integers(0, 1_000_000),
        st.floats(0.1, 60_000.0),
    ),
    max_size=60,
)
Answers = list[tuple[str, int, str, int, float]]


def bucket(answers: Answers, age_s: float = 0.0) -> Bucket:
    made = Bucket(time.monotonic() - age_s)
    for placement, boundary, reason, nbytes, total_ms in answers:
        made.add(placement, boundary, reason, Timing(decode=1.0, head=total_ms / 2, total=total_ms))
        made.bytes_sent += nbytes
    return made


def over_the_wire(buckets: Iterable[Bucket]) -> list[Bucket]:
    """As another node reads them from the registry."""
    return [Bucket.from_json(json.loads(json.dumps(one.to_json()))) for one in buckets]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the module sees, in seconds; to be set by the test."""
    now_s = [1000.0]
    monkeypatch.setattr("edgedet_edge.measurements.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    return now_s


def quantile(values: list[float], q: float) -> float:
    """Of the nearest rank."""
    return sorted(values)[max(1, math.ceil(q * len(values))) - 1]


@given(ANSWERS)
def test_quantiles_are_within_one_percent_per_placement_and_over_all(answers: Answers) -> None:
    report = latency_report([bucket(answers)], 60)
    assert set(report) == {*PLACEMENTS, "all"}
    for name, entry in report.items():
        totals_ms = [answer[4] for answer in answers if name in ("all", answer[0])]
        assert entry["count"] == len(totals_ms)
        for key, q in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
            if totals_ms:
                assert entry[key] == pytest.approx(quantile(totals_ms, q), rel=0.011)
            else:
                assert entry[key] is None


@given(ANSWERS, ANSWERS)
def test_the_buckets_of_two_nodes_merge_to_what_one_would_have_measured(here: Answers, there: Answers) -> None:
    merged = [bucket(here), *over_the_wire([bucket(there)])]
    together = [bucket([*here, *there])]
    for report in (latency_report, offload_report):
        assert _rounded(report(merged, 60)) == _rounded(report(together, 60))


@given(ANSWERS)
def test_offloaded_are_split_and_cloud(answers: Answers) -> None:
    report = offload_report([bucket(answers)], 60)
    offloaded = sum(answer[0] != "edge" for answer in answers)
    assert (report["requests"], report["offloaded"]) == (len(answers), offloaded)
    assert report["ratio"] == (offloaded / len(answers) if answers else 0.0)
    assert sum(report["by_boundary"].values()) == sum(report["by_reason"].values()) == len(answers)
    assert list(report["by_boundary"]) == sorted(report["by_boundary"], key=int)
    assert report["bytes_sent"] == sum(answer[3] for answer in answers)


def test_stages_are_means_and_those_not_run_are_zero() -> None:
    report = latency_report([bucket([("edge", 7, "cheaper", 0, 10.0), ("edge", 7, "cheaper", 0, 30.0)])], 60)
    stages = report["edge"]["stages_ms"]
    assert set(stages) == set(STAGES)
    assert (stages["decode"], stages["head"], stages["transfer"]) == (1.0, 10.0, 0.0)
    assert report["split"]["stages_ms"] == dict.fromkeys(STAGES, 0.0)


@pytest.mark.parametrize("now_s", [1100.0, 1103.5, 1109.5])
@pytest.mark.parametrize("window_s", [1, 10, 60])
def test_one_answer_a_second_is_a_rate_of_one_over_the_seconds_covered(
    clock: list[float], now_s: float, window_s: int
) -> None:
    measurements = Measurements()
    while clock[0] < now_s:
        measurements.answered("edge", 7, "cheaper", Timing(total=10.0))
        clock[0] += 1.0
    clock[0] = now_s
    covered_s = seconds_covered(window_s)
    assert window_s <= covered_s < window_s + 10
    for requests in (
        offload_report(measurements.buckets(), covered_s)["requests"],
        latency_report(measurements.buckets(), covered_s)["all"]["count"],
    ):
        assert requests == pytest.approx(covered_s, abs=1)


def test_seconds_before_the_node_began_are_none_of_its_own(clock: list[float]) -> None:
    measurements = Measurements()
    clock[0] += 7.0
    assert measurements.seconds(60.0) == 7.0
    assert measurements.seconds(5.0) == 5.0


def test_seconds_before_the_first_of_the_nodes_began_are_those_of_none(clock: list[float]) -> None:
    measurements = Measurements()
    for _ in range(25):
        there = over_the_wire(measurements.buckets())  # as every heartbeat does
        clock[0] += 1.0
    assert seconds_counted(there, 60.0) == pytest.approx(25.0, abs=10)
    assert seconds_counted(there, 5.0) == 5.0
    assert seconds_counted([], 60.0) == 0.0


@pytest.mark.parametrize(("covered_s", "counted"), [(60, 3), (21, 2), (19, 1), (1, 1)])
def test_buckets_of_other_nodes_count_where_their_larger_part_does(covered_s: float, counted: int) -> None:
    buckets = [bucket([("edge", 7, "cheaper", 0, 10.0)], age_s) for age_s in (71.0, 50.0, 25.0, 5.0)]
    assert latency_report(buckets, covered_s)["all"]["count"] == counted
    assert offload_report(buckets, covered_s)["requests"] == counted


def test_a_minute_later_nothing_is_left(clock: list[float]) -> None:
    measurements = Measurements()
    measurements.answered("edge", 7, "cheaper", Timing(total=10.0))
    counts = []
    for clock[0] in (1010.0, 1050.0, 1071.0):
        counts.append(latency_report(measurements.buckets(), 60)["all"]["count"])
    assert counts == [1, 1, 0]


def test_memory_stays_bounded_over_a_day(clock: list[float]) -> None:
    measurements = Measurements()
    for _ in range(24 * 60):
        clock[0] += 60.0
        measurements.answered("split", 4, "cheaper", Timing(total=10.0))
    assert len(measurements.buckets()) <= 8


def test_failures_and_tails_at_home_are_counted() -> None:
    measurements = Measurements()
    measurements.cloud_failed()
    measurements.local_tail()
    measurements.local_tail()
    report = offload_report(measurements.buckets(), 60)
    assert (report["cloud_failures"], report["local_tails"], report["requests"]) == (1, 2, 0)


def test_bytes_count_when_they_leave_and_not_with_an_answer(clock: list[float]) -> None:
    measurements = Measurements()
    measurements.sent(40_000)
    assert "edgedet_sent_bytes_total 40000.0" in measurements.exposition().decode()
    clock[0] += 10.0
    measurements.sent(3_000)
    assert [bucket.bytes_sent for bucket in measurements.buckets()] == [40_000, 3_000]


def test_prometheus_reads_the_same_counts() -> None:
    measurements = Measurements()
    measurements.sent(43_000)
    measurements.answered("split", 4, "cheaper", Timing(total=40.0))
    measurements.refused(429)
    measurements.cloud_failed()
    text = measurements.exposition().decode()
    for line in (
        'edgedet_request_seconds_count{placement="split"} 1.0',
        'edgedet_request_seconds_bucket{le="0.05",placement="split"} 1.0',
        'edgedet_request_seconds_count{placement="edge"} 0.0',
        "edgedet_sent_bytes_total 43000.0",
        'edgedet_refused_total{status="429"} 1.0',
        "edgedet_cloud_failures_total 1.0",
        "edgedet_local_tails_total 0.0",
    ):
        assert line in text.splitlines()


def test_a_bucket_keeps_its_age_on_its_way() -> None:
    sent = bucket([("edge", 7, "cheaper", 0, 10.0)], age_s=30.0)
    (received,) = over_the_wire([sent])
    assert received.started_s == pytest.approx(sent.started_s, abs=1.0)


def test_a_bucket_that_could_not_be_merged_is_refused() -> None:
    sent = bucket([("edge", 7, "cheaper", 0, 10.0)]).to_json()
    sums = sent["stage_sums_ms"]["edge"]
    coarse = bucket([])
    coarse.sketches["edge"], coarse.stage_sums_ms["edge"] = DDSketch(0.05), sums
    for other in (
        {"sketches": {"orbit": sent["sketches"]["edge"]}, "stage_sums_ms": {"orbit": sums}},
        {"stage_sums_ms": {}},
        {"stage_sums_ms": {"edge": sums | {"thaw": 1.0}}},
        {"sketches": coarse.to_json()["sketches"]},
    ):
        with pytest.raises(ValueError, match=r"placements|stages|parameters"):
            Bucket.from_json(sent | other)


def _rounded(report: object) -> object:
    return json.loads(json.dumps(report), parse_float=lambda text: float(f"{float(text):.9g}"))
