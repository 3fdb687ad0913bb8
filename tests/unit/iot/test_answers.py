import copy

import pytest
from edgedet_iot import Box, NotAnAnswer
from edgedet_iot.answers import read_classes, read_detections
from hypothesis import given
from hypothesis import strategies as st

EDGE = "http://a:1"
STAGES = ("decode", "queue", "head", "encode", "transfer", "cloud_queue", "tail", "postprocess", "total")
FRAME = {
    "request_id": "r1",
    "model": {"name": "m", "version": 2, "digest": "d"},
    "image": {"width": 640, "height": 480},
    "route": {
        "placement": "split",
        "boundary": 1,
        "reason": "cheaper",
        "segments": [
            {"index": 1, "where": "edge", "backend": "onnxruntime"},
            {"index": 2, "where": "cloud", "backend": "onnxruntime"},
        ],
        "bytes_sent": 99,
    },
    "timing_ms": {stage: float(place) for place, stage in enumerate(STAGES)},
}
DETECTIONS = {**FRAME, "detections": [{"label": "dog", "score": 0.5, "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4.5}}]}
CLASSES = {**FRAME, "classes": [{"label": "ship", "score": 0.75}, {"label": "frog", "score": 0.25}]}


def test_detections_are_read():
    answer = read_detections(DETECTIONS, EDGE)
    assert [(one.label, one.score, one.box) for one in answer.detections] == [("dog", 0.5, Box(1, 2, 3, 4.5))]
    assert (answer.request_id, answer.edge) == ("r1", EDGE)
    assert (answer.model.name, answer.model.version, answer.model.digest) == ("m", 2, "d")
    assert (answer.image.width, answer.image.height) == (640, 480)
    assert (answer.route.placement, answer.route.boundary, answer.route.bytes_sent) == ("split", 1, 99)
    assert [(run.index, run.where) for run in answer.route.segments] == [(1, "edge"), (2, "cloud")]
    assert (answer.timing.decode_ms, answer.timing.cloud_queue_ms, answer.timing.total_ms) == (0, 5, 8)


def test_classes_are_read():
    assert [(one.label, one.score) for one in read_classes(CLASSES, EDGE).classes] == [("ship", 0.75), ("frog", 0.25)]


def test_fields_of_later_versions_are_passed_over():
    later = copy.deepcopy(DETECTIONS) | {"news": 1}
    later["route"]["energy_mj"] = 3
    assert read_detections(later, EDGE) == read_detections(DETECTIONS, EDGE)


@pytest.mark.parametrize("field", sorted(DETECTIONS))
def test_a_missing_field_is_named(field):
    short = {name: value for name, value in DETECTIONS.items() if name != field}
    with pytest.raises(NotAnAnswer, match=field):
        read_detections(short, EDGE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("route", "placement"), "moon"),
        (("route", "boundary"), "one"),
        (("model", "version"), None),
        (("model", "version"), float("inf")),
        (("detections",), 3),
        (("detections", 0, "box"), [1, 2, 3, 4]),
    ],
)
def test_a_field_of_another_form_is_no_answer(path, value):
    body = copy.deepcopy(DETECTIONS)
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(NotAnAnswer):
        read_detections(body, EDGE)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(DETECTIONS)), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_any_other_json_is_no_answer(body):
    with pytest.raises(NotAnAnswer):
        read_detections(body, EDGE)
