"""An edge on simulated arrays: the digital answers on `ideal`, energy and time on flash, capacity in simulated time."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from edgedet_edge import schemas
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.sidecar import compile_package, write_sidecar
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.classification import Classes
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.photo import decode_photo

from demo.processes import Running, StartFailed, start_cloud, start_edge, stopping
from tests.integration.edge.asking import client_of, complaints, wait_for, wait_for_link

SLOW, NAME = "slow-flash", "resnet20-cifar10"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def package(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """ResNet-20 in a folder of its own."""
    folder = tmp_path_factory.mktemp("models") / NAME
    folder.mkdir()
    (folder / "1").symlink_to(models / NAME / "1")
    return load_package(folder / "1")


@pytest.fixture(scope="module")
def slow_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flash so slow that a host keeps up with it on a busy day: a pulse lasts 0.1 ms."""
    text = (Path(load_preset.__code__.co_filename).parent / "presets" / "nor-flash-65nm.toml").read_text()
    file = tmp_path_factory.mktemp("presets") / f"{SLOW}.toml"
    slow = text.replace('name = "nor-flash-65nm"', f'name = "{SLOW}"').replace(
        "pulse_ns = 100.0", "pulse_ns = 100000.0"
    )
    assert slow.count(SLOW) == slow.count("100000.0") == 1
    file.write_text(slow)
    return file


@pytest.fixture(scope="module")
def cloud(log_folder: Path, package: Package) -> Iterator[Running]:
    with stopping(start_cloud(log_folder, "--models", str(package.folder.parent.parent))) as (cloud,):
        yield cloud


def options(package: Package, *further: str) -> list[str]:
    return ["--models", str(package.folder.parent.parent), "--allow-forced-boundary", *further]


def classify(client: httpx.Client, photo: bytes, **query: object) -> dict[str, object]:
    response = client.post("/v1/classify", content=photo, params=query, headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def digital_classes(package: Package, photo: bytes) -> list[dict[str, object]]:
    """What the digital network answers, without any edge."""
    codes, geometry = to_input(decode_photo(photo), package.manifest.input)
    finisher = Finisher.load(package)
    outputs = prepare_chain(package, OnnxRuntimeBackend(), whole=True).run_input(codes)
    found = finisher.finish(outputs, geometry, finisher.default_choices())
    assert isinstance(found, Classes)
    return [
        {"label": package.manifest.labels[label], "score": score}
        for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ]


def test_on_ideal_arrays_the_answers_are_the_digital_ones_at_every_boundary(
    log_folder: Path, package: Package, cloud: Running, photo: bytes
) -> None:
    arrays = options(package, "--cloud", cloud.address, "--backend", "nvm", "--nvm-preset", "ideal")
    with stopping(start_edge(log_folder, *arrays, name="ideal")) as (edge,), client_of(edge) as client:
        wait_for_link(client)
        expected, count = digital_classes(package, photo), package.manifest.segment_count
        asked = []

        def finished_at(boundary: int) -> bool:
            """Whether the tail ran where it was sent: on a busy machine it may come home, to the same answer."""
            answer = classify(client, photo, boundary=boundary)
            asked.append(boundary)
            assert answer["classes"] == expected
            route = schemas.Route.model_validate(answer["route"])
            assert {run.backend for run in route.segments if run.where == "edge"} == {"nvm"}
            return route.boundary == boundary

        for boundary in range(1, count + 1):
            wait_for(lambda boundary=boundary: finished_at(boundary), f"a tail from boundary {boundary}")
        metrics = schemas.AcceleratorMetrics.model_validate(client.get("/v1/metrics/accelerator").json())
        found = metrics.models[package.reference]
        assert (found.preset, found.inferences) == ("ideal", len(asked))
        assert found.total.energy_uj is None
        assert not complaints(edge)


def test_simulated_capacity_holds_answers_back_and_counts_energy_and_time(
    log_folder: Path, package: Package, slow_preset: Path, photo: bytes
) -> None:
    codes, _ = to_input(decode_photo(photo), package.manifest.input)
    sidecar = compile_package(package, load_preset(str(slow_preset)), str(slow_preset), 1, "channels", "mse", [codes])
    write_sidecar(package.folder.parent.parent, sidecar)
    flash = ("--backend", "nvm", "--nvm-preset", str(slow_preset), "--chip", "7", "--capacity", "simulated")
    with (
        stopping(start_edge(log_folder, *options(package, *flash), name="flash")) as (edge,),
        client_of(edge) as client,
    ):
        answers = [classify(client, photo) for _ in range(2)]
        assert answers[0]["classes"] == answers[1]["classes"]
        content = client.get("/v1/metrics/accelerator").json()
        metrics = schemas.AcceleratorMetrics.model_validate(content)
        assert (metrics.backend, metrics.capacity) == ("nvm", "simulated")
        found = metrics.models[package.reference]
        assert (found.preset, found.chip, found.inferences) == (SLOW, 7, 2)
        assert found.total.energy_uj is not None
        assert found.total.energy_uj > 0
        assert found.per_inference.energy_uj == pytest.approx(found.total.energy_uj / 2)
        assert found.total.time_ms is not None
        assert found.total.counted_ms is not None
        assert found.total.counted_ms >= found.total.time_ms > 2 * 100
        for answer in answers:
            assert schemas.TimingMs.model_validate(answer["timing_ms"]).head >= found.total.time_ms / 2
        text = client.get("/metrics").text
        assert f'edgedet_accelerator_inferences_total{{model="{package.reference}"}} 2.0' in text
        joules = float(text.split(f'edgedet_accelerator_joules_total{{model="{package.reference}"}} ')[1].split()[0])
        assert joules == pytest.approx(found.total.energy_uj / 1e6)


def test_simulated_capacity_is_refused_where_nothing_is_simulated(log_folder: Path, package: Package) -> None:
    with pytest.raises(StartFailed, match=r"capacity: backend .* tells no simulated time here"):
        start_edge(log_folder, *options(package, "--capacity", "simulated"), name="digital-simulated")
