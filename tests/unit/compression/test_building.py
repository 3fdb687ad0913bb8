"""Packages while others build and measure, too: a version that appears meanwhile stays, figures land on their own."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgedet_compression import building
from edgedet_compression.building import Target, Trained, build_own, build_trained, store_metrics
from edgedet_compression.errors import BuildRefused
from edgedet_compression.float_baseline import Anchors
from edgedet_compression.known_models import CalibrationSet, FloatModel
from edgedet_compression.networks.graph_builder import GraphBuilder
from edgedet_compression.own_network import OwnNetwork
from edgedet_compression.photo_folder import photo_files
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


def test_files_beside_a_packages_own_stay_and_a_link_to_a_version_stays_one(package: Package):
    (package.folder / "NOTICE.txt").write_text("mine")
    (package.folder / "notes").mkdir()
    (package.folder / "elsewhere").symlink_to("nowhere")
    link = package.folder.parent / "latest"
    link.symlink_to(package.folder.name)
    store_metrics(load_package(link), [metric("mornings")])
    assert link.is_symlink()
    found = load_package(package.folder)
    assert "mornings" in {each.name for each in found.manifest.metrics}
    assert (package.folder / "NOTICE.txt").read_text() == "mine"
    assert (package.folder / "notes").is_dir()
    assert (package.folder / "elsewhere").readlink() == Path("nowhere")


def test_of_many_photos_some_hundred_are_taken_evenly(tmp_path: Path):
    for number in range(1203):
        (tmp_path / f"{number:04}.jpg").touch()
    found = [int(file.stem) for file in photo_files(tmp_path)]
    assert len(found) == 500
    assert found[0] == 0
    assert set(np.diff(found)) == {2, 3}


def build(
    folder: Path, samples: Path, model: onnx.ModelProto, labels: tuple[str, ...] = LABELS, anchors: Anchors = ()
) -> Package:
    onnx.save(model, folder / "net.onnx")
    own_network = OwnNetwork(folder / "net.onnx", labels, anchors)
    return build_own(own_network, samples, None, Target(folder / "models", "mine"), "a test")


def one_layer(shape: tuple[int, int, int, int], outputs: int, **about: int) -> GraphBuilder:
    """A convolution of 3 × 3 on an image [1, C, H, W]."""
    graph, rng = GraphBuilder("net", shape), np.random.default_rng(0)
    weights = rng.standard_normal((outputs, shape[1], 3, 3)).astype(np.float32)
    graph.conv("map", "image", weights, np.zeros(outputs, np.float32), padding=1, **about)
    return graph


def test_an_image_of_two_channels_is_refused(tmp_path: Path, sample_photos: list[Path]):
    graph = one_layer((1, 2, SIDE, SIDE), 5)
    graph.apply("GlobalAveragePool", "mean", ["map"])
    model = graph.model([graph.apply("Flatten", "logits", ["mean"])])
    with pytest.raises(BuildRefused, match="the network reads 2 channels: photos have 3, or 1 where they are gray"):
        build(tmp_path, sample_photos[0].parent, model)


def test_cells_that_are_no_squares_of_whole_pixels_are_refused(tmp_path: Path, sample_photos: list[Path]):
    model = one_layer((1, 3, 31, 32), 10, stride=2).model(["map"])
    with pytest.raises(BuildRefused, match=r"output 'map' has 16 x 16 cells for an input of 31 x 32 pixels"):
        build(tmp_path, sample_photos[0].parent, model, LABELS, (((4.0, 4.0),),))


def test_weights_that_lie_apart_are_computed_alike_everywhere(tmp_path: Path, sample_photos: list[Path]):
    graph = one_layer((1, 3, SIDE, SIDE), 5)
    graph.apply("GlobalAveragePool", "mean", ["map"])
    model = graph.model([graph.apply("Flatten", "logits", ["mean"])])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("dilations", [2, 2]))
    del model.graph.value_info[:]  # the map is smaller by two rows and columns
    package = build(tmp_path, sample_photos[0].parent, model)  # which compares ONNX Runtime with the reference
    assert package.manifest.macs > 0


def own(folder: Path, samples: Path) -> Build:
    onnx.save(classifier(0), folder / "net.onnx")
    return partial(build_own, OwnNetwork(folder / "net.onnx", LABELS), samples, None, command="a test")


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
