import json

import httpx
import pytest
from edgedet_iot import (
    DeadlineMissed,
    Draining,
    EdgeFailed,
    NotAnAnswer,
    Overloaded,
    PhotoRejected,
    Problem,
    Unreachable,
)
from edgedet_iot.answers import read_detections
from edgedet_iot.exchange import fault_of
from edgedet_iot.stream_report import Tally, outcome_of

from tests.unit.iot.test_answers import DETECTIONS, EDGE


def refused(kind, status):
    return kind(Problem(status, "title", "detail"), EDGE)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (refused(Overloaded, 429), "429"),
        (refused(Draining, 503), "503"),
        (refused(EdgeFailed, 500), "500"),
        (refused(PhotoRejected, 415), "415"),
        (DeadlineMissed("", EDGE, answered=True), "504"),
        (DeadlineMissed("", EDGE), "no answer"),
        (DeadlineMissed(""), "not sent in time"),
        (Unreachable("", EDGE), "unreachable"),
        (NotAnAnswer("", EDGE), "not an answer"),
    ],
)
def test_every_fault_has_its_line_in_the_books(fault, outcome):
    assert outcome_of(fault) == outcome


def test_every_photo_is_in_the_books_once():
    tally = Tally(deadline_s=1.0)
    answer = read_detections(DETECTIONS, EDGE)
    tally.offered = 6
    tally.answered(answer, 100.0)
    tally.answered(answer, 1500.0)
    tally.failed(Overloaded(Problem(429, "Overloaded", "first"), EDGE))
    tally.failed(Overloaded(Problem(429, "Overloaded", "second"), EDGE))
    tally.failed(DeadlineMissed("", EDGE, answered=True))
    tally.failed(fault_of(httpx.ConnectError("refused"), EDGE, 1.0))
    report = tally.report(seconds=2.0)
    assert report.by_status == {"200": 2, "429": 2, "504": 1, "unreachable": 1}
    assert report.refusals == {"429": "429 Overloaded: first"}
    assert sum(report.by_status.values()) == report.offered
    assert (report.answered, report.in_time, report.lost) == (2, 1, 1)
    assert (report.offered_per_s, report.in_time_per_s) == (3.0, 0.5)
    assert report.by_edge == {EDGE: 2}
    assert {name: row.count for name, row in report.by_placement.items()} == {"split": 2, "all": 2}
    assert report.by_placement["all"].p99_ms == pytest.approx(1500, rel=0.011)
    assert json.loads(json.dumps(report.to_json()))["lost"] == 1
