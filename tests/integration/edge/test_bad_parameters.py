"""Whatever a query, a header or a path says: a problem document that names it, and the next photo is answered."""

import httpx
import pytest

from tests.integration.edge.asking import detect, is_problem

pytestmark = pytest.mark.usefixtures("next_photo_is_answered")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("score_threshold=2", "score_threshold"),
        ("score_threshold=-0.1", "score_threshold"),
        ("score_threshold=nan", "score_threshold"),
        ("iou_threshold=high", "iou_threshold"),
        ("max_detections=0", "max_detections"),
        ("max_detections=1.5", "max_detections"),
        ("max_detections=99999999999999999999", "max_detections"),
        ("boundary=-1", "boundary"),
        ("boundary=1e9", "boundary"),
        ("boundary=1000", "boundary"),
        ("format=gif", "format"),
        ("score_treshold=0.5", "score_treshold"),
        ("model=" + "x" * 300, "model"),
    ],
)
def test_a_bad_query_value_is_named(client: httpx.Client, photo: bytes, query: str, named: str) -> None:
    response = client.post(f"/v1/detect?{query}", content=photo)
    assert named in is_problem(response, 422).detail


@pytest.mark.parametrize("name", ["nobody", "yolov3-tiny-coco:99", "../models", "%00"])
def test_an_unknown_model_is_not_found(client: httpx.Client, photo: bytes, name: str) -> None:
    assert "yolov3-tiny-coco:1" in is_problem(detect(client, photo, model=name), 404).detail


@pytest.mark.parametrize("deadline", ["abc", "-5", "0", "nan", "inf", "1e12", ""])
def test_a_bad_deadline_is_refused(client: httpx.Client, photo: bytes, deadline: str) -> None:
    response = client.post("/v1/detect", content=photo, headers={"X-Deadline-Ms": deadline})
    assert "X-Deadline-Ms" in is_problem(response, 422).detail


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/v1/detect", 405, "method: this path takes POST"),
        ("POST", "/v1/models", 405, "method: this path takes GET"),
        ("GET", "/nothing", 404, "Nothing matches"),
        ("GET", "/v1/models/x", 404, "yolov3-tiny-coco:1"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem_as_well(
    client: httpx.Client, method: str, path: str, status: int, told: str
) -> None:
    assert told in is_problem(client.request(method, path), status).detail


@pytest.mark.parametrize("query", ["window_s=0", "window_s=61", "window_s=x", "scope=world"])
def test_a_bad_window_or_scope_is_refused(client: httpx.Client, query: str) -> None:
    for view in ("latency", "offload"):
        is_problem(client.get(f"/v1/metrics/{view}?{query}"), 422)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/metrics/latency", "scope, window_s"),
        ("/v1/metrics/offload", "scope, window_s"),
        ("/v1/cluster", "none"),
        ("/v1/models", "none"),
        ("/v1/models/yolov3-tiny-coco", "none"),
        ("/metrics", "none"),
    ],
)
def test_a_misspelled_parameter_is_named_with_those_there_are(client: httpx.Client, path: str, known: str) -> None:
    problem = is_problem(client.get(f"{path}?windows=5"), 422)
    assert problem.detail == f"query: nothing is called 'windows' here; there are: {known}"


def test_health_takes_whatever_query_a_load_balancer_adds(client: httpx.Client) -> None:
    for state in ("live", "ready"):
        assert client.get(f"/health/{state}?probe=1").json() == {"status": state}
