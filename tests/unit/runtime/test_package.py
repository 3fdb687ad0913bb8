"""Packages on disk: what is broken is refused with its reason, the others still load."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from edgedet_runtime.answer import Finisher
from edgedet_runtime.backend import load_backend
from edgedet_runtime.chain import prepare_chain
from edgedet_runtime.errors import GraphUnsupported, PackageRefused, UnknownModel
from edgedet_runtime.manifest import Manifest
from edgedet_runtime.package import find_package, hash_files, load_package, scan_packages, write_package
from edgedet_runtime.verification import verify_package


@pytest.fixture
def models_copy(models: Path, tmp_path: Path) -> Path:
    target = tmp_path / "models"
    shutil.copytree(models / "yolov3-tiny-coco" / "1", target / "yolov3-tiny-coco" / "1")
    return target


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cannot read manifest.json": lambda f: (f / "manifest.json").unlink(),
    "cannot read model.onnx": lambda f: (f / "model.onnx").unlink(),
    "cannot read README.md": lambda f: (f / "README.md").unlink(),
    "model.onnx has sha256": lambda f: append(f / "model.onnx"),
    "README.md has sha256": lambda f: append(f / "README.md"),
    "is not JSON": lambda f: (f / "manifest.json").write_text("{"),
    "not JSON: maximum recursion": lambda f: (f / "manifest.json").write_text("[" * 100_000),
    "schema_version is None": lambda f: (f / "manifest.json").write_text("[]"),
    "schema_version is 2; this version of edgedet reads 1": lambda f: rewrite(f, lambda c: c.update(schema_version=2)),
    "manifest.json: files: paths must stay inside": lambda f: rewrite(
        f, lambda c: c["files"].update({"a/../../b": "0" * 64})
    ),
    "cannot read": lambda f: rewrite(f, lambda c: c["files"].update({"a\0b": "0" * 64})),
    "manifest.json: labels: Field required": lambda f: rewrite(f, lambda c: c.pop("labels")),
    "rename the folder": lambda f: rewrite(f, lambda c: c.update(version=7)),
}


@pytest.mark.parametrize(("reason", "damage"), DAMAGES.items(), ids=range(len(DAMAGES)))
def test_a_broken_package_is_refused_with_the_reason_and_others_load(
    models_copy: Path, reason: str, damage: Callable[[Path], object]
):
    broken = models_copy / "yolov3-tiny-coco" / "2"
    shutil.copytree(models_copy / "yolov3-tiny-coco" / "1", broken)
    rewrite(broken, lambda c: c.update(version=2))
    damage(broken)
    packages, refusals = scan_packages(models_copy)
    assert [package.reference for package in packages] == ["yolov3-tiny-coco:1"]
    assert [refusal.folder for refusal in refusals] == [broken]
    assert reason in refusals[0].reason
    assert str(broken) in refusals[0].reason


def test_a_folder_that_may_not_be_looked_into_is_refused_and_others_load(
    models_copy: Path, monkeypatch: pytest.MonkeyPatch
):
    """As uid 0, which these tests may run as, may look into all of them, the refusal is simulated."""
    closed = models_copy / "closed" / "1"
    shutil.copytree(models_copy / "yolov3-tiny-coco" / "1", closed)
    exists = Path.exists

    def look(path: Path) -> bool:
        if path.parent == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", look)
    packages, (refusal,) = scan_packages(models_copy)
    assert [package.manifest.name for package in packages] == ["yolov3-tiny-coco"]
    assert str(closed) in refusal.reason
    assert "Permission denied" in refusal.reason


@pytest.mark.parametrize("closed", [".", "yolov3-tiny-coco"])
def test_a_folder_of_packages_that_may_not_be_read_is_no_empty_one(
    models_copy: Path, monkeypatch: pytest.MonkeyPatch, closed: str
):
    """Simulated as above."""
    listed = Path.iterdir

    def look(path: Path) -> Iterator[Path]:
        if path == models_copy / closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", look)
    packages, (refusal,) = scan_packages(models_copy)
    assert packages == []
    assert refusal.reason == f"{models_copy / closed}: Permission denied; let this user read it"


def test_one_entry_that_leads_where_none_may_look_hides_no_others(models_copy: Path, monkeypatch: pytest.MonkeyPatch):
    """Simulated as above; a hidden one is not even looked at."""
    for name in (".cache", "old"):
        (models_copy / name).symlink_to(models_copy / "elsewhere")
    is_folder = Path.is_dir

    def look(path: Path) -> bool:
        if path.is_symlink():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return is_folder(path)

    monkeypatch.setattr(Path, "is_dir", look)
    packages, (refusal,) = scan_packages(models_copy)
    assert [package.manifest.name for package in packages] == ["yolov3-tiny-coco"]
    assert refusal.reason == f"{models_copy / 'old'}: Permission denied; let this user read it"


def test_folders_that_are_no_packages_are_passed_over(models_copy: Path):
    (models_copy / "notes" / "drafts").mkdir(parents=True)
    (models_copy / "README.md").write_text("models")
    sidecar = models_copy / "yolov3-tiny-coco-nvm-ideal" / "1"
    sidecar.mkdir(parents=True)
    (sidecar / "nvm.json").write_text("{}")
    for hidden in (Path(".build-x7", "measured"), Path("yolov3-tiny-coco", ".1-old")):
        shutil.copytree(models_copy / "yolov3-tiny-coco" / "1", models_copy / hidden)
    packages, refusals = scan_packages(models_copy)
    assert (len(packages), refusals) == (1, [])
    assert scan_packages(models_copy / "nowhere") == ([], [])


def test_a_name_without_its_version_is_told_what_to_give(models_copy: Path):
    folder = models_copy / "yolov3-tiny-coco"
    shutil.copytree(folder / "1", folder / "2")
    with pytest.raises(PackageRefused, match=f"a package is NAME/VERSION: give {folder / '1'} or {folder / '2'}$"):
        load_package(folder)


def test_a_sidecar_is_told_with_the_package_that_it_is_of(models: Path):
    with pytest.raises(PackageRefused, match=r"this is a sidecar: give the package .*, yolov3-tiny-coco/1$"):
        load_package(models / "yolov3-tiny-coco-nvm-nor-flash-40nm" / "1")


def replaced(models_copy: Path, name: str, content: bytes) -> Path:
    folder = models_copy / "yolov3-tiny-coco" / "1"
    (folder / name).write_bytes(content)
    rewrite(folder, lambda c: c["files"].update(hash_files({name: content})))
    return folder


def test_a_network_that_is_no_onnx_file_is_refused_when_prepared(models_copy: Path):
    package = load_package(replaced(models_copy, "model.onnx", b"junk"))
    with pytest.raises(GraphUnsupported):
        prepare_chain(package, load_backend("onnxruntime"))


def test_tables_that_are_no_array_are_refused_when_loaded(models_copy: Path):
    package = load_package(replaced(models_copy, "decoding.npy", b"junk"))
    with pytest.raises(PackageRefused, match="no array file"):
        Finisher.load(package)


def test_tables_that_are_no_array_do_not_pass_verification(models_copy: Path):
    package = load_package(replaced(models_copy, "decoding.npy", b"junk"))
    with pytest.raises(PackageRefused, match="no array file"):
        verify_package(package, [])


def test_a_boundary_that_the_graph_does_not_have_is_refused_when_prepared(models_copy: Path):
    folder = models_copy / "yolov3-tiny-coco" / "1"
    rewrite(folder, lambda c: c["boundaries"][0]["tensors"][0].update(name="elsewhere"))
    with pytest.raises(GraphUnsupported, match="'elsewhere' is missing in the graph"):
        prepare_chain(load_package(folder), load_backend("onnxruntime"))


def test_a_tensor_of_another_shape_is_refused_when_prepared(models_copy: Path):
    folder = models_copy / "yolov3-tiny-coco" / "1"
    rewrite(folder, lambda c: c["boundaries"][0]["tensors"][0].update(shape=[1, 104, 208, 16]))
    with pytest.raises(GraphUnsupported, match=r"'pool1' is uint8 \(1, 208, 208, 16\) in the graph"):
        prepare_chain(load_package(folder), load_backend("onnxruntime"))


def test_a_written_package_loads_and_is_not_overwritten(models: Path, tmp_path: Path):
    source = load_package(models / "yolov3-tiny-coco" / "1")
    contents = {name: source.path(name).read_bytes() for name in source.manifest.files}
    written = write_package(tmp_path / "m" / "1", source.manifest, contents)
    assert written.digest == source.digest
    with pytest.raises(PackageRefused, match="immutable"):
        write_package(tmp_path / "m" / "1", source.manifest, contents)
    with pytest.raises(PackageRefused, match="not those to write"):
        write_package(tmp_path / "m" / "2", source.manifest, {**contents, "more": b""})


def test_labels_of_any_language_are_written_whatever_the_machines_encoding(models: Path, tmp_path: Path):
    code = r"""
import sys
from pathlib import Path
from edgedet_runtime.package import load_package, write_package
source = load_package(Path(sys.argv[1]))
manifest = source.manifest.model_copy(update={"labels": ("Stra\u00dfenbahn \u96fb\u8eca", *source.manifest.labels[1:])})
contents = {name: source.path(name).read_bytes() for name in manifest.files}
assert write_package(Path(sys.argv[2]), manifest, contents).manifest == manifest
"""
    folders = (models / "resnet20-cifar10" / "1", tmp_path / "1")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, *map(str, folders)], check=True, env=environment)


def test_a_model_is_found_by_name_version_or_task(models: Path, tmp_path: Path):
    source = load_package(models / "yolov3-tiny-coco" / "1")
    contents = {name: source.path(name).read_bytes() for name in source.manifest.files}

    def package_of(name: str, version: int):
        manifest = Manifest.model_validate({**source.manifest.model_dump(), "name": name, "version": version})
        return write_package(tmp_path / name / str(version), manifest, contents)

    packages = [package_of("b", 2), package_of("b", 10), package_of("a", 1)]
    assert find_package(packages, "detect", None).reference == "a:1"
    assert find_package(packages, "detect", "b").reference == "b:10"
    assert find_package(packages, "detect", "b:2").reference == "b:2"
    for wanted in ("c", "b:3", "b:02"):
        with pytest.raises(UnknownModel, match="there are: a:1, b:10, b:2"):
            find_package(packages, "detect", wanted)
    for wanted in (None, "b"):
        with pytest.raises(UnknownModel, match="no package here classifies; there are: a:1, b:10, b:2"):
            find_package(packages, "classify", wanted)
    classifier = load_package(models / "resnet20-cifar10" / "1")
    with pytest.raises(UnknownModel, match="there are: a:1, b:10, b:2; resnet20-cifar10 is one for task 'classify'"):
        find_package([*packages, classifier], "detect", "resnet20-cifar10")
    with pytest.raises(UnknownModel, match="no package here detects; there are: none"):
        find_package([], "detect", None)
