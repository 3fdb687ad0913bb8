"""Packages change places with those before them, or those stay."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from edgedet_compression.export.package_writer import install, staging_folder
from edgedet_runtime.package import load_package


def test_a_package_stays_where_its_successor_cannot_take_its_place(models: Path, tmp_path: Path):
    folder = tmp_path / "lenet" / "1"
    shutil.copytree(models / "small-lenet-w4a4-mnist" / "1", folder)
    before = load_package(folder)
    with staging_folder(tmp_path) as staging, pytest.raises(FileNotFoundError):
        install(replace(before, folder=staging / "never-written"), folder, staging)
    assert load_package(folder).digest == before.digest
