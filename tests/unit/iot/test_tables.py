import copy
import io
from dataclasses import replace

from edgedet_iot.answers import read_classes, read_detections
from edgedet_iot.stream_report import Tally
from edgedet_iot.tables import answer_table, stream_table
from rich.console import Console
from rich.table import Table

from tests.unit.iot.test_answers import CLASSES, DETECTIONS, EDGE

LABEL = "[red] light [/b]"


def printed(table: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=120).print(table)
    return text.getvalue()


def test_labels_stand_as_the_edge_gives_them():
    for read, content, kind in ((read_detections, DETECTIONS, "detections"), (read_classes, CLASSES, "classes")):
        body = copy.deepcopy(content)
        body[kind][0]["label"] = LABEL
        assert LABEL in printed(answer_table(read(body, EDGE)))


def test_edges_stand_as_they_were_given():
    tally, answer = Tally(deadline_s=1.0), read_detections(DETECTIONS, EDGE)
    edges = ["http://[fe80::1]:8080", "http://[fe80::2]:8080"]
    for edge in edges:
        tally.answered(replace(answer, edge=edge), 10.0)
    assert all(edge in printed(stream_table(tally.report(1.0))) for edge in edges)
