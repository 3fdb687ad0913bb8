"""What the demo says of a photo's answers at every boundary."""

from dataclasses import replace
from pathlib import Path

from edgedet_iot.answers import Box, Detection, Detections, ImageSize, Model, Route, Timing

from demo.boundaries import Trial

FOUND = Detections(
    detections=(Detection("person", 0.9, Box(1.0, 2.0, 30.0, 40.0)),),
    request_id="one",
    model=Model("yolov3-tiny-coco", 1, "0" * 64),
    image=ImageSize(640, 480),
    route=Route("edge", 7, "forced", (), 0),
    timing=Timing(1.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.5, 21.5),
    edge="http://127.0.0.1:8080",
)


def at(k: int) -> Detections:
    return replace(FOUND, route=Route("split", k, "forced", (), 1000))


def test_a_boundary_is_held_against_the_edges_own_answer() -> None:
    other = replace(at(4), detections=())
    trial = Trial(Path("photo.jpg"), {2: at(2), 3: at(4), 4: other, 7: FOUND})
    assert trial.verdict(2) == trial.verdict(7) == ""
    assert trial.verdict(3) == "ran at boundary 4 (forced)"
    assert trial.verdict(4) == "other detections than the edge alone"


def test_without_the_edges_own_answer_no_other_is_accused() -> None:
    trial = Trial(Path("photo.jpg"), {2: at(2), 7: "504 Deadline missed"})
    assert trial.verdict(7) == "504 Deadline missed"
    assert trial.verdict(2) == "nothing to compare with: the edge alone gave no answer"
