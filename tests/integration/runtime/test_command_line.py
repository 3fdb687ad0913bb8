"""``edgedet-models list | verify | export-repository``, run as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.package import Package
from edgedet_runtime.photo import decode_photo


def edgedet_models(*arguments: object) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("edgedet-models")
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_list_shows_packages_boundaries_and_digests(package: Package):
    done = edgedet_models("list", "--models", package.folder.parents[1])
    assert done.returncode == 0, done.stderr
    assert package.reference in done.stdout
    assert package.digest in done.stdout
    for boundary in package.manifest.boundaries:
        assert f"{boundary.nbytes:,}" in done.stdout


def test_list_shows_a_small_package_in_small_units(models: Path, tmp_path: Path):
    (tmp_path / "small-lenet-w4a4-mnist").symlink_to(models / "small-lenet-w4a4-mnist")
    done = edgedet_models("list", "--models", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\d\.\d kB, 0\.\d+ million MACs", done.stdout)


def test_list_names_what_it_refuses_and_exits_with_1(package: Package, tmp_path: Path):
    folder = tmp_path / package.manifest.name / str(package.manifest.version)
    shutil.copytree(package.folder, folder)
    (folder / "model.onnx").unlink()
    done = edgedet_models("list", "--models", tmp_path)
    assert done.returncode == 1
    assert "cannot read" in done.stderr
    assert edgedet_models("list", "--models", tmp_path / "nowhere").returncode == 1


def test_verify_compares_both_backends(package: Package, sample_photos: list[Path]):
    done = edgedet_models("verify", package.folder, sample_photos[0])
    assert done.returncode == 0, done.stderr
    assert "all codes equal" in done.stdout


def test_verify_names_what_is_wrong(package: Package, tmp_path: Path):
    folder = tmp_path / "broken"
    shutil.copytree(package.folder, folder)
    (folder / "model.onnx").write_bytes(b"junk")
    done = edgedet_models("verify", folder)
    assert done.returncode == 1
    assert "model.onnx has sha256" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_names_the_photo_that_it_cannot_take(package: Package, tmp_path: Path, sample_photos: list[Path]):
    bad = tmp_path / "notes.jpg"
    bad.write_text("no photo")
    done = edgedet_models("verify", package.folder, sample_photos[0], bad)
    assert done.returncode == 1
    assert f"{bad}: the photo is neither JPEG nor PNG" in done.stderr


def test_list_prints_what_a_manifest_says_as_it_stands(package: Package, tmp_path: Path):
    folder = tmp_path / package.manifest.name / str(package.manifest.version)
    shutil.copytree(package.folder, folder)
    content = json.loads((folder / "manifest.json").read_text())
    content["metrics"] = [{"name": "m", "value": 1, "dataset": "[red] set [/b]", "n": 1, "command": "c"}]
    (folder / "manifest.json").write_text(json.dumps(content))
    done = edgedet_models("list", "--models", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[red] set [/b], n = 1" in done.stdout


def test_exported_tails_give_the_chains_outputs(package: Package, tmp_path: Path, sample_photos: list[Path]):
    repository = tmp_path / "[/b]" / "repository"
    done = edgedet_models("export-repository", package.folder, repository)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {str(folder) for folder in repository.iterdir()}
    chain = prepare_chain(package, load_backend("onnxruntime"))
    tensor, _ = to_input(decode_photo(sample_photos[0].read_bytes()), package.manifest.input)
    expected = chain.run_input(tensor)
    folders = sorted(repository.iterdir())
    assert len(folders) == len(package.manifest.boundaries)
    for boundary in package.manifest.boundaries:
        name = f"{package.manifest.name}-tail-{boundary.k}"
        folder = repository / name
        session = onnxruntime.InferenceSession(folder / str(package.manifest.version) / "model.onnx")
        live = chain.run({package.manifest.input.name: tensor}, stop=boundary.k)
        wanted = {given.name for given in session.get_inputs()}
        assert wanted <= live.keys()
        found = session.run(list(expected), {key: live[key] for key in wanted})
        assert all(np.array_equal(left, right) for left, right in zip(found, expected.values(), strict=True))
        config = (folder / "config.pbtxt").read_text()
        assert f'name: "{name}"' in config
        for spec in package.manifest.outputs:
            assert f'name: "{spec.name}"' in config
    again = edgedet_models("export-repository", package.folder, repository)
    assert again.returncode == 1
    assert "exists already" in again.stderr
