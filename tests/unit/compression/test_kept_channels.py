"""What prunings kept stands beside each other where they pruned the same network."""

import json
from pathlib import Path

import pytest
from edgedet_compression.recipe import load_recipe
from edgedet_compression.reports.html_report import KeptChannels
from edgedet_compression.runs import StageFolder
from edgedet_compression.stages.report import _kept_channels

pytestmark = pytest.mark.needs_torch

PRUNINGS = {
    "std-prune-structure": {"conv0": [64, 32], "conv1": [64, 64]},
    "network-slimming-structure": {"conv0": [32, 16], "conv1": [64, 64]},
    "l1-norm-structure": {"conv0": [64, 48], "conv1": [64, 16]},
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, StageFolder]:
    """Of vgg19-std-prune, of which the prunings alone are done."""
    for name, widths in PRUNINGS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({"inputs": "some", "files": [], "widths": widths}))
    return {stage.name: StageFolder(tmp_path / stage.name, "some") for stage in load_recipe("vgg19-std-prune").stages}


def test_prunings_of_the_same_layers_share_a_table(folders: dict[str, StageFolder]):
    same = KeptChannels(("conv0", "conv1"), (64, 64), {"std-prune-structure": (32, 64), "l1-norm-structure": (48, 16)})
    other = KeptChannels(("conv0", "conv1"), (32, 64), {"network-slimming-structure": (16, 64)})
    assert [*_kept_channels(load_recipe("vgg19-std-prune"), folders)] == [same, other]


def test_a_pruning_that_told_of_no_layer_is_left_out(folders: dict[str, StageFolder], tmp_path: Path):
    result = json.dumps({"inputs": "some", "files": [], "widths": {}})
    for name in PRUNINGS:
        (tmp_path / name / "result.json").write_text(result)
    assert [*_kept_channels(load_recipe("vgg19-std-prune"), folders)] == []
