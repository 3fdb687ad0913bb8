"""Photos in, answers out: formats, thresholds, forced boundaries."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from edgedet_edge import schemas
from edgedet_runtime.detection import DetectThresholds
from PIL import Image, ImageOps

from demo.processes import Running, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, detect, is_problem, wait_for_link
from tests.integration.edge.fused_model import FusedModel

_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def edge(log_folder: Path) -> Iterator[Running]:
    """An edge that lets clients choose, with a cloud that photos may go to."""
    with (
        stopping(start_cloud(log_folder)) as (cloud,),
        stopping(start_edge(log_folder, "--cloud", cloud.address, "--forward-photos", "--allow-forced-boundary")) as (
            edge,
        ),
    ):
        yield edge


@pytest.fixture(scope="module")
def client(edge: Running) -> Iterator[httpx.Client]:
    with client_of(edge) as client:
        wait_for_link(client)
        yield client


@pytest.fixture(scope="module")
def keeping_client(lone_edge: Running) -> Iterator[httpx.Client]:
    """Of an edge that keeps photos at home."""
    with client_of(lone_edge) as client:
        yield client


def test_a_photo_as_the_body_is_answered_with_the_networks_own_detections(
    client: httpx.Client, fused: FusedModel, sample_photos: list[Path]
) -> None:
    for path in sample_photos:
        response = detect(client, path.read_bytes())
        answer = schemas.DetectAnswer.model_validate_json(response.content)
        assert response.status_code == 200
        assert response.json()["detections"] == fused.detect(path.read_bytes())
        with Image.open(path) as image:
            assert (answer.image.width, answer.image.height) == image.size
        assert answer.model.digest == fused.package.digest
        assert [segment.index for segment in answer.route.segments] == list(range(1, fused.segment_count + 1))
        assert answer.timing_ms.total > 0


def test_a_photo_in_a_form_gets_the_same_answer(client: httpx.Client, photo: bytes) -> None:
    response = client.post("/v1/detect", files={"image": ("photo.jpg", photo, "image/jpeg")})
    assert response.status_code == 200
    assert response.json()["detections"] == detect(client, photo).json()["detections"]


def test_a_png_is_taken_and_its_transparency_dropped(client: httpx.Client, photo: bytes, fused: FusedModel) -> None:
    png = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as image:
        image.convert("RGBA").save(png, "PNG", compress_level=1)
    response = client.post("/v1/detect", content=png.getvalue(), headers={"Content-Type": "image/png"})
    assert response.status_code == 200
    assert response.json()["detections"] == fused.detect(photo)


def test_a_photo_without_a_content_type_is_judged_by_its_bytes(client: httpx.Client, photo: bytes) -> None:
    assert client.post("/v1/detect", content=photo).status_code == 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_a_turned_photo_are_in_the_upright_frame(
    client: httpx.Client, fused: FusedModel, photo: bytes, orientation: int
) -> None:
    turned, upright = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    with Image.open(io.BytesIO(photo)) as image:
        image.save(turned, "JPEG", quality=95, exif=exif)
    with Image.open(turned) as image:
        viewed = ImageOps.exif_transpose(image)
        viewed.save(upright, "PNG", compress_level=1)

    answer = detect(client, turned.getvalue(), score_threshold=0.05).json()
    assert answer["image"] == {"width": viewed.width, "height": viewed.height}
    assert answer["detections"] == fused.detect(upright.getvalue(), DetectThresholds(0.05, 0.45, 100)) != []
    drawn = detect(client, turned.getvalue(), format="image").content
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == viewed.size


def test_format_image_answers_the_photo_with_its_boxes_drawn(client: httpx.Client, photo: bytes) -> None:
    response = detect(client, photo, format="image")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(photo)) as original, Image.open(io.BytesIO(response.content)) as drawn:
        assert drawn.format == "JPEG"
        assert drawn.size == original.size
        assert detect(client, photo).json()["detections"]
        difference = np.abs(np.asarray(drawn, np.int16) - np.asarray(original.convert("RGB"), np.int16))
        assert difference.max() > 100


def test_thresholds_are_obeyed(client: httpx.Client, fused: FusedModel, photo: bytes) -> None:
    for thresholds in (
        DetectThresholds(0.05, 0.45, 100),
        DetectThresholds(0.05, 0.9, 7),
        DetectThresholds(0.6, 0.2, 3),
    ):
        query = {
            "score_threshold": thresholds.score,
            "iou_threshold": thresholds.iou,
            "max_detections": thresholds.max_detections,
        }
        found = detect(client, photo, **query).json()["detections"]
        assert found == fused.detect(photo, thresholds)
        assert len(found) <= thresholds.max_detections
        assert all(one["score"] >= thresholds.score for one in found)


def test_every_boundary_gives_the_fused_models_answer_bit_for_bit(
    client: httpx.Client, fused: FusedModel, sample_photos: list[Path]
) -> None:
    last = fused.segment_count
    for path in sample_photos:
        expected = fused.detect(path.read_bytes(), DetectThresholds(0.01, 0.45, 100))
        for boundary in range(last + 1):
            answer = detect(client, path.read_bytes(), boundary=boundary, score_threshold=0.01).json()
            placement = "cloud" if boundary == 0 else "edge" if boundary == last else "split"
            route = answer["route"]
            assert (route["placement"], route["boundary"], route["reason"]) == (placement, boundary, "forced")
            assert answer["detections"] == expected
            where = [segment["where"] for segment in route["segments"]]
            assert where == ["edge"] * boundary + ["cloud"] * (last - boundary)
            assert (route["bytes_sent"] > 0) == (boundary < last)


def test_a_classifier_answers_its_best_classes(client: httpx.Client, photo: bytes) -> None:
    response = client.post("/v1/classify", content=photo)
    answer = schemas.ClassifyAnswer.model_validate_json(response.content)
    scores = [one.score for one in answer.classes]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) <= 1.0001
    best = client.post("/v1/classify", content=photo, params={"top_k": 1}).json()["classes"]
    assert best == response.json()["classes"][:1]


def test_a_classifier_gives_the_same_classes_at_every_boundary(client: httpx.Client, photo: bytes) -> None:
    (model,) = [m for m in client.get("/v1/models").json()["models"] if m["task"] == "classify" and m["default"]]
    answers = [
        client.post("/v1/classify", content=photo, params={"boundary": boundary}).json()
        for boundary in range(model["segments"] + 1)
    ]
    assert [answer["route"]["boundary"] for answer in answers] == list(range(model["segments"] + 1))
    assert all(answer["classes"] == answers[0]["classes"] for answer in answers)


def test_a_request_id_comes_back_and_an_unsound_one_is_replaced(client: httpx.Client, photo: bytes) -> None:
    for path, content in (("/v1/detect", photo), ("/v1/detect", b"no photo"), ("/v1/detect?boundary=x", photo)):
        given = client.post(path, content=content, headers={"X-Request-Id": "camera-7.42"})
        assert given.headers["X-Request-Id"] == given.json()["request_id"] == "camera-7.42"
        made = client.post(path, content=content, headers={"X-Request-Id": "a b"})
        assert made.headers["X-Request-Id"] == made.json()["request_id"] != "a b"
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", made.headers["X-Request-Id"])


def test_every_view_is_what_its_schema_says(client: httpx.Client, photo: bytes) -> None:
    detect(client, photo)
    for path, schema in {
        "/v1/models": schemas.Models,
        "/v1/models/yolov3-tiny-coco": schemas.ModelInfo,
        "/v1/models/yolov3-tiny-coco:1": schemas.ModelInfo,
        "/v1/metrics/latency": schemas.LatencyMetrics,
        "/v1/metrics/offload?window_s=10": schemas.OffloadMetrics,
        "/v1/metrics/accelerator": schemas.AcceleratorMetrics,
        "/v1/metrics/latency?scope=cluster": schemas.LatencyMetrics,
        "/v1/cluster": schemas.Cluster,
        "/health/live": schemas.Health,
        "/health/ready": schemas.Health,
    }.items():
        response = client.get(path)
        assert response.status_code == 200, path
        schema.model_validate_json(response.content)


def test_models_tell_their_boundaries(client: httpx.Client, fused: FusedModel) -> None:
    model = schemas.ModelInfo.model_validate_json(client.get("/v1/models/yolov3-tiny-coco").content)
    manifest = fused.package.manifest
    assert model.default
    assert [boundary.k for boundary in model.boundaries] == [boundary.k for boundary in manifest.boundaries]
    assert all(sum(t.bytes for t in boundary.live_tensors) == boundary.bytes for boundary in model.boundaries)
    shares = [boundary.head_share for boundary in model.boundaries]
    assert shares == sorted(shares)


def test_answers_are_counted_by_placement_and_boundary(client: httpx.Client, fused: FusedModel, photo: bytes) -> None:
    def counts() -> tuple[int, int, int]:
        latency = client.get("/v1/metrics/latency").json()["placements"]
        offload = client.get("/v1/metrics/offload").json()
        assert offload["requests"] == latency["all"]["count"]
        assert offload["offloaded"] == latency["split"]["count"] + latency["cloud"]["count"]
        return latency["edge"]["count"], latency["split"]["count"], offload["by_boundary"].get("2", 0)

    before = counts()
    detect(client, photo, boundary=fused.segment_count)
    detect(client, photo, boundary=2)
    detect(client, b"not counted", boundary=2)
    assert tuple(now - then for now, then in zip(counts(), before, strict=True)) == (1, 1, 1)
    families = client.get("/metrics").text
    assert 'edgedet_request_seconds_count{placement="split"}' in families
    assert 'edgedet_refused_total{status="415"}' in families


def test_a_boundary_may_not_be_forced_unless_the_node_allows_it(log_folder: Path, photo: bytes) -> None:
    with stopping(start_edge(log_folder, name="plain")) as (edge,), client_of(edge) as client:
        is_problem(detect(client, photo, boundary=3), 403)
        assert detect(client, photo).status_code == 200


def test_photos_that_are_kept_do_not_leave_at_boundary_0(keeping_client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(keeping_client, photo, boundary=0), 403)


def test_a_forced_boundary_without_a_cloud_is_computed_at_home(
    keeping_client: httpx.Client, photo: bytes, fused: FusedModel
) -> None:
    answer = detect(keeping_client, photo, boundary=3).json()
    assert answer["route"]["placement"] == "edge"
    assert answer["route"]["reason"] == "no-cloud"
    assert answer["detections"] == fused.detect(photo)


def test_a_boundary_behind_the_last_is_refused(client: httpx.Client, photo: bytes, fused: FusedModel) -> None:
    is_problem(detect(client, photo, boundary=fused.segment_count + 1), 422)


def test_a_model_of_the_other_task_is_not_found(client: httpx.Client, photo: bytes) -> None:
    is_problem(detect(client, photo, model="resnet20-cifar10"), 404)
    is_problem(client.post("/v1/classify", content=photo, params={"model": "yolov3-tiny-coco"}), 404)


def test_a_query_value_of_the_other_task_is_refused(client: httpx.Client, photo: bytes) -> None:
    problem = is_problem(detect(client, photo, top_k=3), 422)
    assert "top_k" in problem.detail
    is_problem(client.post("/v1/classify", content=photo, params={"score_threshold": 0.5}), 422)


def test_a_photo_whose_deadline_cannot_be_met_is_refused_with_a_retry_time(client: httpx.Client, photo: bytes) -> None:
    response = client.post("/v1/detect", content=photo, headers={"X-Deadline-Ms": "1"})
    problem = is_problem(response, 429)
    assert problem.retry_after_s == int(response.headers["Retry-After"]) >= 1
