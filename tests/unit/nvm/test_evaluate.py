"""A package on a chip beside its digital network: figures, saturation, and what the command refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from edgedet_nvm import chip_evaluation
from edgedet_nvm.backend import NvmBackend
from edgedet_nvm.chip_evaluation import evaluate_chip, stored_sidecar
from edgedet_nvm.cli import app
from edgedet_nvm.device.chip import Chip
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.published import comparison
from edgedet_nvm.evaluation_set import LabeledSet, folder_photos, limited, own_set
from edgedet_nvm.photo_options import calibration_inputs
from edgedet_nvm.saturation import saturated_shares
from edgedet_nvm.sidecar import Sidecar, compile_package, write_sidecar
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package, load_package
from edgedet_runtime.segments import load_network
from typer.testing import CliRunner, Result

from tests.unit.nvm.small_packages import digital_package, labeled_photos, small_package

NOR = "nor-flash-65nm"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return small_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labeled_photos(tmp_path_factory.mktemp("photos") / "noise")


def sidecar_of(package: Package, photos: Path, preset: str = NOR) -> Sidecar:
    inputs = [to_input(photo, package.manifest.input)[0] for photo in folder_photos(photos / "a")]
    return compile_package(package, load_preset(preset), preset, 0, "channels", "mse", inputs)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"EDGEDET_DATA": ""})


def test_on_the_ideal_preset_a_chip_is_right_where_the_digital_network_is(package: Package, photos: Path):
    counted: list[None] = []
    chosen = own_set(package, photos, None)
    ideal = Chip(load_preset("ideal"), 0)
    found = evaluate_chip(package, sidecar_of(package, photos, "ideal"), ideal, chosen, lambda: counted.append(None))
    figure = found.figures[0]
    assert figure.figure == "top-1"
    assert figure.digital == figure.chip
    assert (figure.difference.value, figure.difference.low) == (0, -figure.difference.high)
    assert found.saturation == {}
    assert len(counted) == 40


def test_figures_of_a_noisy_chip_do_not_depend_on_threads(package: Package, photos: Path):
    chosen, chip = own_set(package, photos, None), Chip(load_preset(NOR), 2)
    sidecar = sidecar_of(package, photos)
    alone, together = (evaluate_chip(package, sidecar, chip, chosen, lambda: None, threads) for threads in (1, 3))
    assert alone == together
    assert alone.saturation.keys() == sidecar.ranges.converters.keys()


def test_a_narrower_range_saturates_more(package: Package, photos: Path):
    sidecar, chip = sidecar_of(package, photos), Chip(load_preset(NOR), 2)
    inputs = [to_input(photo, package.manifest.input)[0] for photo in folder_photos(photos / "b")]
    network = load_network(package.path("model.onnx"))
    wide = saturated_shares(network, sidecar, chip, inputs)
    converters = {
        name: converter.model_copy(update={"bits": converter.bits - 3})
        for name, converter in sidecar.ranges.converters.items()
    }
    ranges = sidecar.ranges.model_copy(update={"converters": converters})
    narrow = saturated_shares(network, sidecar.model_copy(update={"ranges": ranges}), chip, inputs)
    assert all(narrow[name] > wide[name] for name in wide)
    assert all(0 <= share <= 1 for share in narrow.values())


def test_a_limit_takes_photos_of_all_labels(package: Package, photos: Path):
    chosen = limited(own_set(package, photos, None), 5)
    assert [file.parent.name for file in (chosen.dataset.files[place] for place in chosen.places)] == list("abcde")
    assert len(limited(chosen, 99)) == 5


def test_the_command_writes_its_figures_as_json(package: Package, photos: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    options = ("--photos", photos, "--calibrate", photos / "a", "--corner", "ss", "--temperature-c", 85, "--to", file)
    told = invoke("evaluate", package.folder, "--preset", NOR, "--chip", 3, "--limit", 10, *options)
    assert told.exit_code == 0, told.output
    content = json.loads(file.read_text())
    assert content["chip"] == {"seed": 3, "temperature_c": 85.0, "corner": "ss", "hours": 0.0}
    assert (content["photos"], content["adc_ranges"]) == (10, "calibrated on 4 photos")
    figure = content["figures"][0]
    assert figure["difference"]["value"] == pytest.approx(figure["chip"]["value"] - figure["digital"]["value"])
    assert "conversions clipped, 10 photos" in told.output
    assert "ranges of the converters: calibrated on 4 photos" in told.output


def test_the_command_tells_what_a_photo_takes_of_the_chip_from_the_codes_seen(
    package: Package, photos: Path, tmp_path: Path
):
    file = tmp_path / "figures.json"
    options = ("--photos", photos, "--calibrate", photos / "a", "--threads", 2, "--to", file)
    told = invoke("evaluate", package.folder, "--preset", NOR, *options)
    assert told.exit_code == 0, told.output
    found = json.loads(file.read_text())["estimate"]
    chain = prepare_chain(package, NvmBackend(sidecar_of(package, photos), Chip(load_preset(NOR), 0)), whole=True)
    seen = [{"image": to_input(photo, package.manifest.input)[0]} for photo in own_set(package, photos, None).photos()]
    runs = [chain.run_segment(1, live, chain.context(live))[1] for live in seen]
    energies = [run.simulated_energy_uj for run in runs]
    assert min(energies) < max(energies)
    assert found["energy_uj"]["total"] == pytest.approx(np.mean(energies))
    assert found["time_ms"] == pytest.approx(runs[0].simulated_time_ms)
    assert 0 < found["interval_ms"] < found["time_ms"]
    assert found["area_mm2"]["total"] > found["area_mm2"]["adc"] > 0
    assert found["tops"] == pytest.approx(2e-9 * found["macs"] / found["interval_ms"])
    assert found["tops_per_watt"] == pytest.approx(2e-6 * found["macs"] / np.mean(energies))
    assert f"ms, at {found['tops_per_watt']:.4g} TOPS/W" in told.output
    assert f"ms, {found['tops']:.4g} TOPS" in told.output
    assert "µJ a photo, mean of 20" in told.output


def test_a_preset_without_costs_says_that_nothing_is_estimated(package: Package, photos: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    told = invoke("evaluate", package.folder, "--preset", "ideal", "--photos", photos, "--limit", 5, "--to", file)
    assert told.exit_code == 0, told.output
    content = json.loads(file.read_text())
    assert (content["estimate"], content["adc_ranges"]) == (None, None)
    assert "ranges of the converters" not in told.output
    assert "ideal has no costs or no ADC: energy, time and area are not estimated" in told.output


def test_a_package_whose_layers_all_stay_digital_takes_nothing_of_the_chip(photos: Path, tmp_path: Path):
    package, file = digital_package(tmp_path / "models"), tmp_path / "figures.json"
    told = invoke("evaluate", package.folder, "--photos", photos, "--calibrate", photos / "a", "--to", file)
    assert told.exit_code == 0, told.output
    found = json.loads(file.read_text())
    assert found["figures"][0]["difference"]["value"] == 0
    estimate = found["estimate"]
    assert [estimate[name] for name in ("time_ms", "macs", "tops", "tops_per_watt")] == [0] * 4
    assert estimate["energy_uj"]["total"] == estimate["area_mm2"]["total"] == 0


def test_presets_are_compared_with_published_chips_with_sources_and_reasons():
    told = invoke("presets", "--compare")
    assert told.exit_code == 0, told.output
    for row in comparison():
        chip = row.published
        assert f"{chip.name} ({chip.source}): {chip.reasons}" in told.output
        assert any(chip.preset in line and f" {row.tops_per_watt:.1f} " in line for line in told.output.splitlines())


def test_the_sidecar_beside_the_package_gives_the_ranges(photos: Path, tmp_path: Path):
    package = small_package(tmp_path / "models")
    write_sidecar(tmp_path / "models", sidecar_of(package, photos))
    file = tmp_path / "figures.json"
    told = invoke("evaluate", package.folder, "--preset", NOR, "--photos", photos, "--to", file)
    assert told.exit_code == 0, told.output
    assert json.loads(file.read_text())["adc_ranges"] == f"small-nvm-{NOR}:1"


@pytest.mark.parametrize(("folder", "named"), [("small", "1"), ("small/1", "."), ("small/1", "../1")])
def test_the_sidecar_is_found_however_short_the_packages_path_is(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, named: str
):
    package = small_package(tmp_path)
    sidecar = sidecar_of(package, photos)
    write_sidecar(tmp_path, sidecar)
    monkeypatch.chdir(tmp_path / folder)
    assert stored_sidecar(load_package(Path(named)), load_preset(NOR)) == sidecar


def test_clipped_conversions_are_counted_on_photos_of_all_labels(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    chosen = own_set(package, labeled_photos(tmp_path / "photos", per_label=20), None)
    seen: list[LabeledSet] = []

    def remembering(whole: LabeledSet, limit: int) -> LabeledSet:
        seen.append(limited(whole, limit))
        return seen[-1]

    monkeypatch.setattr(chip_evaluation, "limited", remembering)
    some = limited(chosen, 60)
    found = evaluate_chip(
        package, sidecar_of(package, tmp_path / "photos"), Chip(load_preset(NOR), 0), some, lambda: None
    )
    assert found.saturation_photos == len(seen[0]) == 16
    assert {seen[0].dataset.files[place].parent.name for place in seen[0].places} == set("abcde")


def test_nor_wires_are_calibrated_also_without_an_adc(package: Package, photos: Path):
    wired = load_preset(NOR).model_copy(update={"adc": None})
    assert len(calibration_inputs(package, wired, None, photos / "a")) == 4
    assert calibration_inputs(package, load_preset("ideal"), None, photos / "a") == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no photos to measure on: set EDGEDET_DATA, or give --data or --photos"),
        (("--photos", "PHOTOS"), "no photos to calibrate on: name some"),
        (("--photos", "nowhere"), "no photo LABEL/NAME.jpg or .png below nowhere"),
        (("--data", "PHOTOS"), "its labels are neither CIFAR-10's nor MNIST's; give --photos DIR"),
        (("--annotations", "boxes.json"), "--annotations: are the boxes of --photos; give both"),
        (("--photos", "PHOTOS", "--annotations", "boxes.json"), "--annotations: small:1 is a classifier"),
        (("--photos", "PHOTOS", "--to", "PHOTOS"), "is a folder: name a file in it"),
        (("--photos", "PHOTOS", "--to", f"{__file__}/found.json"), "test_evaluate.py is no folder"),
        (("--photos", "PHOTOS", "--corner", "xx"), "corner: there is no 'xx'; give one of tt, ff, ss, fs, sf"),
        (("--photos", "PHOTOS", "--temperature-c", "300"), "temperature_c: 300 is outside of the preset's -40…125"),
    ],
)
def test_the_command_tells_a_users_mistake_in_one_sentence(
    package: Package, photos: Path, options: tuple[str, ...], told: str
):
    result = invoke("evaluate", package.folder, *(photos if part == "PHOTOS" else part for part in options))
    assert result.exit_code == 1
    assert told in result.output
    assert len(result.output.strip().splitlines()) == 1
