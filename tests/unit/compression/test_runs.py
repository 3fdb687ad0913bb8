"""Run folders and the runner: a stage is done once, and again when what it reads has changed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from edgedet_compression.accuracy import Measured
from edgedet_compression.errors import BuildRefused, SourceUnreadable
from edgedet_compression.networks.families import load_network
from edgedet_compression.progress import Advance, silent
from edgedet_compression.recipe_stages import TrainStage
from edgedet_compression.runner import Workplace, folders_of, open_data, run_recipe
from edgedet_compression.runs import StageFolder, digest, results_of
from edgedet_evaluation.errors import DataMismatch
from edgedet_runtime.package import load_package

from tests.unit.compression.toy_photos import write_shapes
from tests.unit.compression.toy_recipe import RECIPE, recipe, toy_workplace

pytestmark = pytest.mark.needs_torch

TURNED = '"folders"\nlabels = ["stripes", "square"]'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return toy_workplace(tmp_path_factory.mktemp("work"))


def test_all_stages_of_a_recipe_are_done_once(place: Workplace) -> None:
    done = run_recipe(recipe(), place)
    assert list(done) == ["dense", "sparse", "thin-structure", "thin", "package", "test"]
    sparse = done["sparse"].result()
    assert sparse["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert [entry["kept"] for entry in sparse["rounds"]] == [True, True]
    assert sparse["bytes_sparse"] == (done["sparse"].path / "network.sparse").stat().st_size
    thin = done["thin-structure"].result()
    assert thin["parameters"] <= 200_000 < thin["parameters_before"]
    tested = done["test"].result()["networks"]
    assert tested["dense"]["top1"]["minus baseline"]["value"] == 0
    assert {name: entry["top1"]["n"] for name, entry in tested.items()} == {"dense": 12, "sparse": 12, "thin": 12}
    packed = done["test"].result()["packages"]["package"]
    assert packed["top1"]["n"] == 12
    assert packed["digest"] == load_package(place.models / "toy-shapes" / "1").digest
    assert load_network(done["thin"].path / "network.pt") is not None

    written = {name: (folder.path / "result.json").stat().st_mtime_ns for name, folder in done.items()}
    again = run_recipe(recipe(), place)
    assert {name: (folder.path / "result.json").stat().st_mtime_ns for name, folder in again.items()} == written


def test_a_recipe_that_is_edited_while_another_one_reads_it_is_not_mixed_in(place: Workplace, tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text(RECIPE.replace('name = "toy"', 'name = "base"'), encoding="utf-8")
    text = RECIPE.replace('name = "toy"', 'name = "reader"').replace('teacher = "dense"', f'teacher = "{base}/dense"')

    def edit(step: str, _: int) -> Advance:
        if step.startswith("stage thin-structure"):
            base.write_text(base.read_text(encoding="utf-8").replace("lr = 0.05", "lr = 0.0001"), encoding="utf-8")
        return lambda _="": None

    elsewhere = Workplace(place.data, tmp_path / "runs", tmp_path / "models", edit)
    with pytest.raises(BuildRefused, match=r"base\.toml/dense is no longer what it was when this run began"):
        run_recipe(recipe(text), elsewhere)
    folders = folders_of(recipe(text), replace(elsewhere, progress=silent))
    assert [name for name, folder in folders.items() if folder.done] == ["dense", "sparse", "thin-structure"]
    assert not (tmp_path / "runs" / "base").exists()


def test_a_changed_stage_and_what_reads_it_are_done_again_and_the_old_one_is_kept(place: Workplace) -> None:
    before = run_recipe(recipe(), place)
    changed = recipe(RECIPE.replace("parameters = 200_000", "parameters = 190_000"))
    folders = folders_of(changed, place)
    left = {name for name, folder in folders.items() if not folder.done}
    assert left == {"thin-structure", "thin", "test", "package"}
    done = run_recipe(changed, place, until="thin-structure")
    assert list(done) == ["dense", "thin-structure"]
    assert done["thin-structure"].result()["parameters"] <= 190_000
    # The old one stands beside it, and is not done again when the change is taken back.
    assert done["thin-structure"].path != before["thin-structure"].path
    assert before["thin-structure"].done


def test_another_test_split_leaves_trainings_as_they_are(place: Workplace) -> None:
    run_recipe(recipe(), place)
    assert place.data is not None
    shutil.copytree(place.data / "photos" / "test", place.data / "photos" / "later", dirs_exist_ok=True)
    changed = recipe(RECIPE.replace('folder = "photos"', 'folder = "photos"\ntest = "later"'))
    assert {name for name, folder in folders_of(changed, place).items() if not folder.done} == {"package", "test"}


def test_a_package_is_not_measured_on_photos_whose_labels_stand_in_another_order(place: Workplace) -> None:
    package = load_package(Path(run_recipe(recipe(), place)["package"].result()["package"]))
    own, turned = (open_data(recipe(RECIPE.replace('"folders"', text)), place) for text in ('"folders"', TURNED))
    assert own.accuracy(Measured(package, ""))[0].n == 12
    with pytest.raises(
        DataMismatch, match=r"toy-shapes/1 has the labels square, stripes, .* stripes, square: take the"
    ):
        turned.accuracy(Measured(package, ""))


def test_numbers_of_an_augmentation_may_stand_in_quotes(place: Workplace) -> None:
    text = RECIPE.replace("network = {", 'augmentation = { translate = "2" }\nnetwork = {', 1)
    data = open_data(recipe(text), place)
    stage = recipe(text).stage("dense")
    assert isinstance(stage, TrainStage)
    assert data.task(stage).batch(0, 0).images.shape == (8, 3, 32, 32)


def test_a_stage_that_another_process_is_at_is_refused_until_that_one_ends(place: Workplace) -> None:
    changed = recipe(RECIPE.replace("parameters = 200_000", "parameters = 195_000"))
    folder = folders_of(changed, place)["thin-structure"]
    with folder.at_work(), pytest.raises(BuildRefused, match=r"another process works in .*thin-structure-"):
        run_recipe(changed, place, until="thin-structure")
    assert not folder.done
    run_recipe(changed, place, until="thin-structure")
    assert folder.done


def test_a_package_that_was_taken_away_is_made_again(place: Workplace) -> None:
    run_recipe(recipe(), place)
    shutil.rmtree(place.models / "toy-shapes")
    assert [name for name, folder in folders_of(recipe(), place).items() if not folder.done] == ["package"]
    run_recipe(recipe(), place)
    assert (place.models / "toy-shapes" / "1" / "model.onnx").is_file()


def test_an_evaluation_is_done_again_once_its_package_has_other_bytes(place: Workplace) -> None:
    file = run_recipe(recipe(), place)["test"].path / "result.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["packages"]["package"]["digest"] = "0" * 64  # as if the export had been done again since
    file.write_text(json.dumps(result), encoding="utf-8")
    assert [name for name, folder in folders_of(recipe(), place).items() if not folder.done] == ["test"]
    tested = run_recipe(recipe(), place)["test"].result()["packages"]["package"]
    assert tested["digest"] == load_package(place.models / "toy-shapes" / "1").digest


@pytest.mark.parametrize(("old", "new"), [('name = "toy"', 'name = "other"'), ('"photos"', '"more-photos"')])
def test_a_package_of_another_recipe_or_of_other_photos_is_not_replaced(place: Workplace, old: str, new: str) -> None:
    made = run_recipe(recipe(), place)["package"]
    assert place.data is not None
    if not (place.data / "more-photos").exists():
        write_shapes(place.data / "more-photos", seed=1)
    other = recipe(RECIPE.replace(old, new))
    with pytest.raises(BuildRefused, match=r"stage package: .*toy-shapes/1 is there.*: rename package, or remove the"):
        run_recipe(other, place)
    assert not any(folder.path.exists() for folder in folders_of(other, place).values()), "refused before any stage"
    assert made.done


def test_photos_that_were_added_make_another_package_in_the_place_of_the_first(tmp_path: Path) -> None:
    write_shapes(tmp_path / "data" / "photos")
    place = Workplace(tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    short = recipe(RECIPE.replace('start = "thin"', 'start = "dense"'))
    first = run_recipe(short, place, until="package")["package"]
    photo = tmp_path / "data" / "photos" / "train" / "square" / "0.png"
    photo.with_name("one-more.png").write_bytes(photo.read_bytes())
    opened_anew = replace(place, opened={})
    second = run_recipe(short, opened_anew, until="package")["package"]
    assert second.path != first.path
    assert (first.done, second.done) == (False, True)


def test_an_export_is_not_done_once_another_package_has_its_place(place: Workplace, tmp_path: Path) -> None:
    package = load_package(Path(run_recipe(recipe(), place)["package"].result()["package"]))
    folder = StageFolder(tmp_path, "a" * 64)
    folder.finish({"package": str(package.folder), "digest": package.digest})
    assert folder.done
    folder.finish({"package": str(package.folder), "digest": "0" * 64})
    assert not folder.done


def test_a_stage_is_done_once_its_result_and_its_files_are_there(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, "a" * 64)
    assert not folder.done
    (tmp_path / "plot.svg").write_text("<svg/>")
    folder.finish({"figure": 1, "files": ["plot.svg"]})
    assert folder.done
    assert not StageFolder(tmp_path, "b" * 64).done
    (tmp_path / "plot.svg").unlink()
    assert not folder.done


def test_a_result_that_a_power_failure_left_empty_is_done_again_and_named_where_it_is_read(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "toy" / "package-aaaaaaaa", "a" * 64)
    folder.path.mkdir(parents=True)
    folder.finish({"stage": "package", "digest": "d"})
    assert [result["digest"] for result in results_of(tmp_path, "toy", "package")] == ["d"]
    (folder.path / "result.json").write_bytes(b"")
    assert not folder.done
    assert not list(results_of(tmp_path, "toy", "package"))
    with pytest.raises(SourceUnreadable, match=r"package-aaaaaaaa/result.json: .*: remove it, and run again"):
        folder.result()


def test_a_default_that_is_written_down_changes_no_hash() -> None:
    def digest_with(line: str) -> str:
        return digest(
            recipe(RECIPE.replace("parameters = 200_000", f"parameters = 200_000\n{line}")).stage("thin-structure")
        )

    assert digest_with("") == digest_with("floor = 0.1") != digest_with("floor = 0.2")
