"""The compose profile `nvm`: an edge whose photos run on simulated NOR flash, with the digital cloud for its tails."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from edgedet_edge.schemas import AcceleratorMetrics
from edgedet_iot import Client, Detections
from edgedet_runtime.package import load_package

from tests.system.docker.containers import ROOT, compose_project, left_over, poll

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(900)]

PROJECT = "edgedet-test-nvm"
EDGE = "http://127.0.0.1:8083"
compose = compose_project(PROJECT)


@pytest.fixture(scope="module")
def accelerator() -> Iterator[None]:
    try:
        compose("--profile", "nvm", "up", "--build", "--wait", "edge-nvm", timeout_s=600)
        yield
    finally:
        compose("--profile", "nvm", "down", "--volumes")
    assert left_over(PROJECT) == []


def answer(photo: Path) -> Detections:
    with Client(EDGE, deadline_s=60, retries=50) as client:
        return client.detect(photo)


def test_photos_run_on_the_arrays_and_their_energy_is_told(accelerator, sample_photos):
    answers = [answer(photo) for photo in sample_photos]
    assert any(found.detections for found in answers)
    assert {run.backend for found in answers for run in found.route.segments if run.where == "edge"} == {"nvm"}
    content = httpx.get(f"{EDGE}/v1/metrics/accelerator", timeout=10, trust_env=False).json()
    metrics = AcceleratorMetrics.model_validate(content)
    assert metrics.models.keys() == {
        load_package(manifest.parent).reference for manifest in (ROOT / "models").glob("*/1/manifest.json")
    }
    used = metrics.models["yolov3-tiny-coco:1"]
    assert (used.preset, used.chip, used.inferences) == ("nor-flash-40nm", 0, len(answers))
    assert used.total.energy_uj is not None
    assert used.total.energy_uj > 0
    assert used.total.time_ms is not None
    assert used.total.time_ms > 0


def test_the_same_photo_gives_the_same_answer_again(accelerator, sample_photos):
    assert answer(sample_photos[1]).detections == answer(sample_photos[1]).detections


def test_tails_of_a_busy_accelerator_run_in_the_digital_cloud(accelerator, sample_photos):
    seen: set[str] = set()

    def handed_over() -> bool:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(answer, sample_photos))
        split = [each.route for each in answers if each.route.placement == "split"]
        seen.update(each.route.placement for each in answers)
        assert all(
            {run.backend for run in route.segments if run.where == "cloud"} == {"onnxruntime"} for route in split
        )
        return bool(split)

    poll(handed_over, 120, lambda: (seen, compose("logs", "--tail", "20", "edge-nvm")))
