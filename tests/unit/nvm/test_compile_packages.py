"""A package compiled for a preset: its sidecar, the backend that runs it, and the command."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm import cli
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.chip_cells import chip_cells
from edgedet_nvm.cli import app
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import AdcCircuit, Tile, load_preset
from edgedet_nvm.mapping import map_network
from edgedet_nvm.noise_input import network_noise
from edgedet_nvm.oracle import run_oracle
from edgedet_nvm.sidecar import Sidecar, compile_package, map_package, read_sidecar, write_sidecar
from edgedet_nvm.terminal import out
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import load_network
from typer.testing import CliRunner

from tests.unit.nvm.small_packages import labeled_photos, small_package

NOR = "nor-flash-65nm"


@pytest.fixture(scope="module")
def resnet20(models: Path) -> Package:
    return load_package(models / "resnet20-cifar10" / "1")


@pytest.fixture(scope="module")
def images(resnet20: Package, sample_photos: list[Path]) -> list[np.ndarray]:
    return [to_input(decode_photo(file.read_bytes()), resnet20.manifest.input)[0] for file in sample_photos[:3]]


@pytest.fixture(scope="module")
def sidecar(resnet20: Package, images: list[np.ndarray]) -> Sidecar:
    return compile_package(resnet20, load_preset(NOR), NOR, 3, "channels", "mse", images)


@pytest.fixture(scope="module")
def noisy(resnet20: Package, sidecar: Sidecar) -> Chain:
    return prepare_chain(resnet20, NvmBackend(sidecar, Chip(load_preset(NOR), 3)))


def logits(chain: Chain, image: np.ndarray) -> np.ndarray:
    return chain.run_input(image)["logits"]


def test_the_ideal_preset_gives_the_digital_codes_at_every_boundary(resnet20: Package, images: list[np.ndarray]):
    ideal = load_preset("ideal")
    backend = NvmBackend(compile_package(resnet20, ideal, "ideal", 0, "channels", "mse", []), Chip(ideal, 0))
    assert not backend.uses_photo_key
    arrays, digital = prepare_chain(resnet20, backend), prepare_chain(resnet20, OnnxRuntimeBackend())
    for boundary in range(1, digital.segment_count + 1):
        found, expected = (chain.run({"image": images[0]}, 0, boundary) for chain in (arrays, digital))
        assert found.keys() == expected.keys()
        for name, codes in expected.items():
            np.testing.assert_array_equal(found[name], codes)


def test_a_whole_network_with_errors_wire_losses_and_noise_gives_the_oracles_logits(
    resnet20: Package, sidecar: Sidecar, noisy: Chain, images: list[np.ndarray]
):
    model = load_network(resnet20.path("model.onnx"))
    layers = map_network(read_quantized_graph(model), sidecar.arrays).layers
    assert sidecar.ranges is not None
    assert sidecar.mean_inputs is not None
    chip, means = Chip(load_preset(NOR), 3), sidecar.mean_inputs
    plans = {
        m.name: LayerPlan(m, sidecar.ranges.of(m.name), chip_cells(m, chip, sidecar.columns, means[m.name]))
        for m in layers
    }
    assert all(plan.cells.drop is None for plan in plans.values())
    shapes = {m.name: (1, m.conversions * m.outputs, *m.pixels) for m in layers}
    noise = network_noise(noisy.context({"image": images[0]}).photo_key, 3, shapes)
    expected = run_oracle(model, plans, {"image": images[0]}, noise).tensors["logits"]
    np.testing.assert_array_equal(logits(noisy, images[0]), expected)


def test_an_answer_depends_on_photo_and_chip_but_not_on_threads_order_or_segments(
    resnet20: Package, sidecar: Sidecar, noisy: Chain, images: list[np.ndarray]
):
    alone = [logits(noisy, image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda image: logits(noisy, image), [*images[::-1], *images]))
    for found, expected in zip(together, [*alone[::-1], *alone], strict=True):
        np.testing.assert_array_equal(found, expected)
    other_chip = prepare_chain(resnet20, NvmBackend(sidecar, Chip(load_preset(NOR), 4)), whole=True)
    same_chip = prepare_chain(resnet20, NvmBackend(sidecar, Chip(load_preset(NOR), 3)), whole=True)
    np.testing.assert_array_equal(logits(same_chip, images[0]), alone[0])
    assert (logits(other_chip, images[0]) != alone[0]).any()


def test_energy_and_time_of_segments_add_up_to_the_whole_networks_and_follow_the_photo(
    resnet20: Package, sidecar: Sidecar, noisy: Chain, images: list[np.ndarray]
):
    def spent(chain: Chain, image: np.ndarray) -> tuple[float, float]:
        live, context, energy_uj, time_ms = {"image": image}, chain.context({"image": image}), 0.0, 0.0
        for index in range(1, chain.segment_count + 1):
            live, result = chain.run_segment(index, live, context)
            energy_uj += result.simulated_energy_uj or 0.0
            time_ms += result.simulated_time_ms or 0.0
        return energy_uj, time_ms

    whole = prepare_chain(resnet20, NvmBackend(sidecar, Chip(load_preset(NOR), 3)), whole=True)
    energy_uj, time_ms = spent(whole, images[0])
    assert spent(noisy, images[0]) == pytest.approx((energy_uj, time_ms))
    dark_uj, dark_ms = spent(whole, np.zeros_like(images[0]))
    assert 0 < dark_uj < energy_uj
    assert dark_ms == pytest.approx(time_ms)
    reads = sum(
        len(m.pulses) * int(np.prod(m.pixels)) for m in map_package(resnet20, load_preset(NOR), "channels").layers
    )
    assert time_ms == pytest.approx(reads * 100e-6)


def test_a_sidecar_survives_its_file_and_is_refused_for_another_package(
    tmp_path: Path, models: Path, resnet20: Package, sidecar: Sidecar
):
    folder = write_sidecar(tmp_path, sidecar)
    assert folder == tmp_path / f"resnet20-cifar10-nvm-{NOR}" / "1"
    preset = load_preset(NOR)
    assert read_sidecar(folder, resnet20, preset) == sidecar
    with pytest.raises(PackageRefused, match="compile it anew"):
        read_sidecar(folder, load_package(models / "yolov3-tiny-coco" / "1"), preset)
    with pytest.raises(PackageRefused, match="exists already"):
        write_sidecar(tmp_path, sidecar)
    (folder / "nvm.json").write_text(sidecar.model_dump_json().replace('"bits":8', '"bits":0'))
    with pytest.raises(PackageRefused, match="a converter of 0 bits has no codes to tell apart"):
        read_sidecar(folder, resnet20, preset)


def test_a_sidecar_is_refused_for_a_preset_of_the_same_name_with_other_circuits(
    tmp_path: Path, resnet20: Package, sidecar: Sidecar
):
    folder, preset = write_sidecar(tmp_path, sidecar), load_preset(NOR)
    quiet = preset.model_copy(update={"noise": None, "costs": None})
    assert read_sidecar(folder, resnet20, quiet) == sidecar
    for change in ({"adc": AdcCircuit(bits=4)}, {"tile": Tile(rows=288, columns=256)}):
        with pytest.raises(
            PackageRefused, match=f"{NOR} has another cell, slices, tile, .*; remove the folder and compile it anew$"
        ):
            read_sidecar(folder, resnet20, preset.model_copy(update=change))
    old = sidecar.model_dump(mode="json", exclude={"preset_sha256"})
    (folder / "nvm.json").write_text(json.dumps(old))
    with pytest.raises(PackageRefused, match="preset_sha256: Field required; compile it anew"):
        read_sidecar(folder, resnet20, preset)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"rows": 5}, "rows: is 5, but 576"),
        ({"columns": 64}, "columns: is 64, but 256"),
        ({"pulse_bits": 8}, "pulse_bits: is 8, but 4"),
        ({"paired": False}, "paired: is False, but True"),
        ({"highest_levels": [12, 15]}, r"highest_levels: is \(12, 15\), but \(15, 4\)"),
    ],
)
def test_a_sidecar_that_contradicts_its_preset_is_refused(
    tmp_path: Path, resnet20: Package, sidecar: Sidecar, edit: dict[str, object], told: str
):
    folder = write_sidecar(tmp_path, sidecar)
    (folder / "nvm.json").write_text(json.dumps(sidecar.model_dump(mode="json") | edit))
    with pytest.raises(PackageRefused, match=f"{told} by preset {NOR}; remove the folder and compile it anew"):
        read_sidecar(folder, resnet20, load_preset(NOR))


def test_converters_of_a_sidecar_are_those_of_the_preset(tmp_path: Path, resnet20: Package, sidecar: Sidecar):
    folder = write_sidecar(tmp_path, sidecar)
    for edit, told in (
        ({"ranges": None}, "ranges: are missing, but preset nor-flash-65nm has an"),
        ({"mean_inputs": {"a": [9]}}, "less than or"),
    ):
        (folder / "nvm.json").write_text(json.dumps(sidecar.model_dump(mode="json") | edit))
        with pytest.raises(PackageRefused, match=told):
            read_sidecar(folder, resnet20, load_preset(NOR))
    (folder / "nvm.json").write_text(sidecar.model_dump_json().replace('"bits":8', '"bits":4', 1))
    with pytest.raises(PackageRefused, match=r"ranges of .*_value: have other bits than preset nor-flash-65nm"):
        read_sidecar(folder, resnet20, load_preset(NOR))


def test_the_command_checks_compiles_and_reports(
    tmp_path: Path, models: Path, sample_photos: list[Path], monkeypatch: pytest.MonkeyPatch
):
    package, photo = str(models / "resnet20-cifar10" / "1"), str(sample_photos[0])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").symlink_to(sample_photos[0])
    checked = CliRunner().invoke(app, ["check", package, str(tmp_path / "photos"), "--preset", "sonos-40nm"])
    assert checked.exit_code == 0
    assert "all 290,954 codes equal" in checked.output
    compiled = CliRunner().invoke(app, ["compile", package, photo, "--preset", NOR, "--models", str(tmp_path)])
    assert compiled.exit_code == 0
    assert (tmp_path / f"resnet20-cifar10-nvm-{NOR}" / "1" / "nvm.json").is_file()
    monkeypatch.setattr(out, "width", 160)
    told = CliRunner().invoke(app, ["report", package, "--preset", NOR])
    assert told.exit_code == 0
    assert "layer2_0_shortcut_value stays digital" in told.output
    assert "│ layer3_2_b_value " in told.output
    assert NOR in CliRunner().invoke(app, ["presets"]).output


def test_to_compile_for_a_converter_takes_photos(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("EDGEDET_DATA", raising=False)
    package = str(models / "resnet20-cifar10" / "1")
    refused = CliRunner().invoke(app, ["compile", package, "--preset", NOR, "--models", str(tmp_path)])
    assert refused.exit_code == 1
    assert "no photos to calibrate on: name some" in refused.output
    assert not list(tmp_path.iterdir())


def test_a_sidecar_is_written_beside_its_package_and_a_taken_folder_is_told_before_the_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package, photos = small_package(tmp_path / "models"), labeled_photos(tmp_path / "photos")
    command = ["compile", str(package.folder), str(photos / "a"), str(photos / "b" / "0.png"), "--preset", NOR]
    monkeypatch.chdir(photos)
    compiled = CliRunner().invoke(app, command)
    assert compiled.exit_code == 0, compiled.output
    written = json.loads((tmp_path / "models" / f"small-nvm-{NOR}" / "1" / "nvm.json").read_text())
    assert written["ranges"]["photos"] == 5  # those of the folder, and the one
    monkeypatch.setattr(cli, "compile_package", lambda *_: pytest.fail("calibrated for nothing"))
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "exists already; remove it to compile anew, or take a preset of your own by another name" in refused.output
    (tmp_path / "file").touch()
    refused = CliRunner().invoke(app, [*command, "--models", str(tmp_path / "file")])
    assert refused.exit_code == 1
    assert "is no folder" in " ".join(refused.output.split())


@pytest.mark.parametrize("command", ["check", "compile"])
def test_a_photo_that_cannot_be_decoded_is_named(tmp_path: Path, command: str):
    package, photos = small_package(tmp_path / "models"), labeled_photos(tmp_path / "photos", per_label=1)
    broken = tmp_path / "broken.png"
    broken.write_text("no photo")
    told = CliRunner().invoke(app, [command, str(package.folder), str(photos / "a" / "0.png"), str(broken)])
    assert told.exit_code == 1
    assert str(broken) in told.output


def test_the_command_tells_a_users_mistake_in_one_line(models: Path):
    wrong = CliRunner().invoke(app, ["check", str(models / "resnet20-cifar10" / "1"), "--preset", "nor-flash-7nm"])
    assert wrong.exit_code == 1
    assert "there is no 'nor-flash-7nm'" in wrong.output
    assert "Traceback" not in wrong.output
