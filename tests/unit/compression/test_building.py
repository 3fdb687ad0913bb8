"""Packages while others build and measure, too: a version that appears meanwhile stays, figures land on their own."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest
from edgedet_compression import building
from edgedet_compression.building import OwnNetwork, Target, Trained, build_own, build_trained, store_metrics
from edgedet_compression.errors import BuildRefused
from edgedet_compression.known_models import CalibrationSet, FloatModel
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_runtime.manifest import InputSpec, Metric
from edgedet_runtime.package import Package, load_package

from tests.unit.compression.small_networks import SIDE, classifier, photos

LABELS = ("ant", "bee", "cat", "dog", "elk")
Build = Callable[[Target], Package]


def metric(name: str) -> Metric:
    return Metric(name=name, value=0.5, dataset="mine", n=4, command="edgedet-compress evaluate")


@pytest.fixture
def package(models: Path, tmp_path: Path) -> Package:
    """A copy of a committed one."""
    return load_package(shutil.copytree(models / "small-lenet-w4a4-mnist" / "1", tmp_path / "lenet" / "1"))


def test_figures_of_a_package_do_not_land_on_the_one_that_took_its_place(package: Package, models: Path):
    shutil.rmtree(package.folder)
    shutil.copytree(models / "resnet20-cifar10" / "1", package.folder)
    before = load_package(package.folder).manifest
    with pytest.raises(BuildRefused, match="lenet/1 became another package while it was measured: evaluate it again"):
        store_metrics(package, [metric("top-1, W4A4")])
    assert load_package(package.folder).manifest == before


def test_of_two_evaluations_at_once_both_keep_their_figures(package: Package):
    store_metrics(package, [metric("mornings")])
    found = store_metrics(package, [metric("evenings")])  # has read the package before the first one ended
    assert {"mornings", "evenings"} <= {each.name for each in found.manifest.metrics}
    assert found.digest == package.digest


def own(folder: Path, samples: Path) -> Build:
    onnx.save(classifier(0), folder / "net.onnx")
    return partial(build_own, OwnNetwork(folder / "net.onnx", LABELS), samples)


def trained(folder: Path, samples: Path) -> Build:
    made = Trained(
        source=FloatModel(classifier(0), (), LABELS, "a test"),
        input=InputSpec(name="pixels", height=SIDE, width=SIDE, channels=4),
        normalization=Normalization(),
        calibration=CalibrationSet(photos(0), "noise"),
        accuracy=lambda _: [],
        command="a test",
        description="",
        license="MIT",
        seed=0,
    )
    return partial(build_trained, made)


@pytest.mark.parametrize("prepare", [own, trained])
@pytest.mark.parametrize("replace", [False, True])
def test_a_version_that_appeared_while_another_was_built_stays_unless_it_is_to_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
    models: Path,
    sample_photos: list[Path],
    tmp_path: Path,
    prepare: Callable[[Path, Path], Build],
    replace: bool,
):
    build, target = prepare(tmp_path, sample_photos[0].parent), Target(tmp_path / "models", "mine", replace=replace)
    verify = building.verify_package

    def slowly(made: Package, samples: list[bytes]) -> int:
        shutil.copytree(models / "small-lenet-w4a4-mnist" / "1", target.folder)
        return verify(made, samples)

    monkeypatch.setattr(building, "verify_package", slowly)
    if replace:
        assert build(target).manifest.name == "mine"
        return
    with pytest.raises(BuildRefused, match="models/mine/1 exists and versions are immutable"):
        build(target)
    assert load_package(target.folder).manifest.name == "small-lenet-w4a4-mnist"
