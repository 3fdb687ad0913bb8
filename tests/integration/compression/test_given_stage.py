"""The stage `given`: a recipe that begins with weights of others."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from edgedet_compression.data.labeled_images import IMAGENET_NORMALIZATION
from edgedet_compression.errors import BuildRefused, ChecksumMismatch, SourceMissing, SourceUnreadable
from edgedet_compression.networks.darknet_module import DarknetModule, darknet_weights
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.resnet import resnet20
from edgedet_compression.networks.yolov3 import YOLOv3Tiny
from edgedet_compression.pruning.masks import prunable_weights, sparsity
from edgedet_compression.pruning.sparse_size import write_sparse
from edgedet_compression.recipe import load_recipe
from edgedet_compression.runner import Workplace, folders_of, open_data, run_recipe
from edgedet_runtime.package import file_sha256

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]

RECIPE = """
name = "begun"
description = "A network of others."
[data]
format = "folders"
folder = "photos"
normalization = "imagenet"
[[stages]]
name = "float"
kind = "given"
family = "cifar-resnet"
weights = "others/resnet.th"
sha256 = "SHA256"
"""


@pytest.fixture
def begun(tmp_path: Path) -> Workplace:
    """A checkpoint as akamaster writes it, photos of two classes, and a recipe that begins with the checkpoint."""
    weights = tmp_path / "weights" / "others" / "resnet.th"
    weights.parent.mkdir(parents=True)
    torch.manual_seed(7)
    torch.save({"state_dict": {f"module.{name}": value for name, value in resnet20(2).state_dict().items()}}, weights)
    for label in ("dark", "bright"):
        folder = tmp_path / "photos" / "train" / label
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "0.png"), np.full((32, 32, 3), 200 if label == "bright" else 20, np.uint8))
    (tmp_path / "begun.toml").write_text(RECIPE.replace("SHA256", file_sha256(weights)), encoding="utf-8")
    return Workplace(tmp_path, tmp_path / "runs", tmp_path / "models")


DETECTOR = """
name = "begun"
description = "A detector that has seen other photos."
[data]
format = "coco"
folder = "fruit"
size = 64
[[stages]]
name = "float"
kind = "given"
family = "yolov3-tiny"
weights = "others/yolov3-tiny.weights"
sha256 = "SHA256"
"""


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos with boxes of two labels, and a folder of the cache for weights."""
    monkeypatch.setenv("EDGEDET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "others").mkdir(parents=True)
    for folder in ("annotations", "train"):
        (tmp_path / "fruit" / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "fruit" / "train" / "0.png"), np.full((32, 32, 3), 90, np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "apple"}, {"id": 2, "name": "pear"}],
        "annotations": [{"image_id": 1, "category_id": label, "bbox": [1, 1, 9, 9]} for label in (1, 2)],
    }
    (tmp_path / "fruit" / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return tmp_path


def _detector_recipe(folder: Path, content: bytes) -> Path:
    weights = folder / "cache" / "others" / "yolov3-tiny.weights"
    weights.write_bytes(content)
    file = folder / "begun.toml"
    file.write_text(DETECTOR.replace("SHA256", file_sha256(weights)), encoding="utf-8")
    return file


def test_a_detector_begins_with_weights_of_darknet_out_of_the_cache(fruit: Path) -> None:
    torch.manual_seed(3)
    published = YOLOv3Tiny(5, 416)
    recipe = load_recipe(str(_detector_recipe(fruit, darknet_weights(published))))
    network = run_recipe(recipe, Workplace(fruit, fruit / "runs", fruit / "models"))["float"].network()
    assert isinstance(network, DarknetModule)
    assert network.input_size == (64, 64)
    assert {head.classes for head in network.heads} == {2}
    assert torch.equal(network.unit(0).conv.weight, published.unit(0).conv.weight)


def test_a_file_of_another_detector_is_told(fruit: Path) -> None:
    content = darknet_weights(YOLOv3Tiny(5, 416))[:-4]
    recipe = load_recipe(str(_detector_recipe(fruit, content)))
    with pytest.raises(SourceUnreadable, match=r"stage float: .*\.weights is of no yolov3-tiny: \d+ numbers are not"):
        run_recipe(recipe, Workplace(fruit, fruit / "runs", fruit / "models"))


def test_a_sparse_network_under_another_family_is_told(begun: Workplace, tmp_path: Path) -> None:
    file = tmp_path / "network.sparse"
    write_sparse(resnet20(2), file)
    text = RECIPE.replace("others/resnet.th", str(file)).replace("SHA256", file_sha256(file))
    (tmp_path / "begun.toml").write_text(text, encoding="utf-8")
    with pytest.raises(
        BuildRefused, match=r'stage float: .*network\.sparse is a sparse network: give family = "sparse"'
    ):
        run_recipe(load_recipe(str(tmp_path / "begun.toml")), begun)


def test_the_network_is_that_of_the_file_and_reads_what_it_was_trained_with(begun: Workplace, tmp_path: Path) -> None:
    recipe = load_recipe(str(tmp_path / "begun.toml"))
    found = run_recipe(recipe, begun)["float"].network().state_dict()
    torch.manual_seed(7)
    expected = resnet20(2).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert open_data(recipe, begun).normalization == IMAGENET_NORMALIZATION


def test_a_file_that_is_another_or_missing_is_named(begun: Workplace, tmp_path: Path) -> None:
    file = tmp_path / "begun.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, text), encoding="utf-8")
    with pytest.raises(ChecksumMismatch, match=r"stage \w+: weights: .*resnet\.th has sha256 .*: correct that"):
        run_recipe(load_recipe(str(file)), begun)
    file.write_text(text.replace("others/", "nobody/"), encoding="utf-8")
    with pytest.raises(SourceMissing, match=r"resnet\.th is not at"):
        run_recipe(load_recipe(str(file)), begun)


def _sparse_recipe(folder: Path, network: torch.nn.Module) -> Path:
    """The recipe, with a sparse file at an absolute path in the place of the weights."""
    weights = folder / "network.sparse"
    write_sparse(network, weights)
    text = RECIPE.replace("cifar-resnet", "sparse").replace("others/resnet.th", str(weights))
    file = folder / "begun.toml"
    file.write_text(text.replace("SHA256", file_sha256(weights)), encoding="utf-8")
    return file


def test_a_sparse_network_of_another_run_keeps_its_zeros(begun: Workplace, tmp_path: Path) -> None:
    network = resnet20(2)
    with torch.no_grad():
        network.get_parameter("conv1.weight")[3:] = 0
    recipe = load_recipe(str(_sparse_recipe(tmp_path, network)))
    folder = run_recipe(recipe, begun)["float"]
    found = folder.network().state_dict()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())
    assert folder.result()["sparsity"] == sparsity(prunable_weights(network)).total > 0
    assert folder.result()["bytes_sparse"] == (tmp_path / "network.sparse").stat().st_size


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: resnet20(3), "holds a network of 3 classes; photos has 2 labels"),
        (lambda: YOLOv3Tiny(2), "holds a detector, and the photos of photos ask for a classifier"),
        (lambda: LeNet(classes=2), r"holds a network that takes no photos of \(3, 32, 32\)"),
    ],
)
def test_a_network_that_does_not_fit_the_photos_is_refused(begun: Workplace, tmp_path: Path, network, reason) -> None:
    with pytest.raises(BuildRefused, match=rf"stage float: .*network\.sparse {reason}"):
        run_recipe(load_recipe(str(_sparse_recipe(tmp_path, network()))), begun)


def test_a_sparse_file_of_another_run_is_kept_and_the_recipe_to_be_corrected(begun: Workplace, tmp_path: Path) -> None:
    file = _sparse_recipe(tmp_path, resnet20(2))
    write_sparse(resnet20(2), tmp_path / "network.sparse")
    with pytest.raises(ChecksumMismatch, match=r"network\.sparse has sha256 .*, the recipe says .*: correct that"):
        run_recipe(load_recipe(str(file)), begun)


def test_weights_are_looked_at_before_the_first_stage(begun: Workplace, tmp_path: Path) -> None:
    file = tmp_path / "begun.toml"
    text = file.read_text(encoding="utf-8")
    other = text[text.index("[[stages]]") :].replace('"float"', '"second"').replace("others/", "nobody/")
    file.write_text(text + other, encoding="utf-8")
    recipe = load_recipe(str(file))
    with pytest.raises(SourceMissing, match=r"resnet\.th is not at"):
        run_recipe(recipe, begun)
    assert not folders_of(recipe, begun)["float"].done


def test_a_sparse_file_that_is_not_there_is_named(begun: Workplace, tmp_path: Path) -> None:
    file = _sparse_recipe(tmp_path, resnet20(2))
    (tmp_path / "network.sparse").unlink()
    with pytest.raises(SourceMissing, match=r"weights: no file .*network\.sparse"):
        run_recipe(load_recipe(str(file)), begun)
