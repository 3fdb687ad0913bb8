"""The stage `given`: a recipe that begins with weights of others."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from edgedet_compression.data.labeled_images import IMAGENET_NORMALIZATION
from edgedet_compression.errors import ChecksumMismatch, SourceMissing
from edgedet_compression.networks.resnet import resnet20
from edgedet_compression.recipe import load_recipe
from edgedet_compression.runner import Workplace, open_data, run_recipe
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
    with pytest.raises(ChecksumMismatch, match=r"resnet\.th has sha256"):
        run_recipe(load_recipe(str(file)), begun)
    file.write_text(text.replace("others/", "nobody/"), encoding="utf-8")
    with pytest.raises(SourceMissing, match=r"resnet\.th is not at"):
        run_recipe(load_recipe(str(file)), begun)
