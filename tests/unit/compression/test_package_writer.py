"""Packages change places with those before them, or those stay."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from edgedet_compression.building import Target
from edgedet_compression.commands import app
from edgedet_compression.errors import BuildRefused
from edgedet_compression.export.package_writer import install, put_back, staging_folder
from edgedet_runtime.package import load_package
from typer.testing import CliRunner


def test_a_package_stays_where_its_successor_cannot_take_its_place(models: Path, tmp_path: Path):
    folder = tmp_path / "lenet" / "1"
    shutil.copytree(models / "small-lenet-w4a4-mnist" / "1", folder)
    before = load_package(folder)
    with staging_folder(tmp_path) as staging, pytest.raises(FileNotFoundError):
        install(replace(before, folder=staging / "never-written"), folder, staging)
    assert load_package(folder).digest == before.digest


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from edgedet_compression.export.package_writer import install, staging_folder
from edgedet_runtime.package import load_package

def move_and_die(source, target):
    os.rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)

Path.rename, folder = move_and_die, Path(sys.argv[1])
with staging_folder(folder.parent.parent) as staging:
    install(replace(load_package(folder), folder=staging / "measured"), folder, staging)
"""


@pytest.fixture
def taken_away(models: Path, tmp_path: Path) -> Path:
    """The folder of a package whose `install` was killed between its two moves."""
    folder = tmp_path / "lenet" / "1"
    shutil.copytree(models / "small-lenet-w4a4-mnist" / "1", folder)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists()
    return folder


def test_a_package_that_a_kill_took_away_comes_back_and_no_other(taken_away: Path, tmp_path: Path):
    put_back(tmp_path / "other" / "1")
    put_back(tmp_path / "lenet" / "2")
    assert not list(tmp_path.glob("[!.]*/*"))
    put_back(taken_away)
    assert load_package(taken_away).manifest.name == "small-lenet-w4a4-mnist"


def test_a_build_finds_the_version_that_a_kill_took_away(taken_away: Path, tmp_path: Path):
    with pytest.raises(BuildRefused, match="versions are immutable"):
        Target(tmp_path, "lenet").check()
    assert taken_away.exists()


def test_an_evaluation_finds_the_package_that_a_kill_took_away(taken_away: Path):
    result = CliRunner().invoke(app, ["evaluate", str(taken_away)])
    assert "no known model 'small-lenet-w4a4-mnist'" in result.stderr
    assert taken_away.exists()


def test_a_package_that_took_the_place_since_stays(taken_away: Path, models: Path):
    shutil.copytree(models / "resnet20-cifar10" / "1", taken_away)
    put_back(taken_away)
    assert load_package(taken_away).manifest.name == "resnet20-cifar10"
