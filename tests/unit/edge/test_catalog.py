"""Which packages a node serves, and which one it takes."""

import json
import re
import shutil
from pathlib import Path

import pytest
from edgedet_edge.catalog import Catalog
from edgedet_runtime.backend import load_backend
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.package import hash_files

NAME = "small-lenet-w4a4-mnist"


def test_a_model_of_no_name_is_the_nodes_own_choice(models: Path) -> None:
    catalog = Catalog.load(models, load_backend("onnxruntime"), NAME, whole=True)
    assert catalog.find("classify", "").reference == catalog.find("classify", None).reference == f"{NAME}:1"


def test_a_package_that_cannot_be_run_does_not_stop_the_others(models: Path, tmp_path: Path) -> None:
    for version in (1, 2):
        shutil.copytree(models / NAME / "1", tmp_path / NAME / str(version))
    broken = tmp_path / NAME / "2"
    (broken / "model.onnx").write_bytes(b"junk")
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["version"] = 2
    manifest["files"] |= hash_files({"model.onnx": b"junk"})
    (broken / "manifest.json").write_text(json.dumps(manifest))
    catalog = Catalog.load(tmp_path, load_backend("onnxruntime"), "", whole=True)
    assert [model.reference for model in catalog.models] == [f"{NAME}:1"]
    (reason,) = catalog.describe()["refused"].values()
    assert f"{broken}: " in reason
    assert "is no ONNX file" in reason


def test_where_every_package_is_broken_the_first_reason_is_told(models: Path, tmp_path: Path) -> None:
    for version in ("1", "2"):
        shutil.copytree(models / NAME / "1", tmp_path / NAME / version)
        (tmp_path / NAME / version / "model.onnx").unlink()
    told = f"models: every package is refused, the first because of {tmp_path / NAME / '1'}: cannot read model.onnx"
    with pytest.raises(PackageRefused, match=re.escape(told)):
        Catalog.load(tmp_path, load_backend("onnxruntime"), "", whole=True)
