"""What a report compares: every measured package, beside the network that it really came from."""

from pathlib import Path

import pytest
from edgedet_compression.networks.families import parameter_count, save_network
from edgedet_compression.pruning.layers import remove_branch
from edgedet_compression.reports.html_report import Variant
from edgedet_compression.reports.latency import Latency
from edgedet_compression.runs import NETWORK, StageFolder
from edgedet_compression.stages.variants import Compared, Shape, class_table, variants
from edgedet_evaluation.intervals import Estimate
from edgedet_runtime.package import Package, load_package
from torch import nn

from tests.unit.compression.prunable_networks import small_yolo

pytestmark = pytest.mark.needs_torch

WHOLE = small_yolo()
THIN = remove_branch(WHOLE, 4)
OWN: Shape = (3, 256, 256)
"""The input of the package."""


@pytest.fixture
def package(models: Path) -> Package:
    return load_package(models / "yolov3-trimmed-bccd" / "1")


def stage(folder: Path, name: str, network: nn.Module | None = None, **result: str) -> StageFolder:
    """A stage that is done."""
    made = StageFolder(folder / name, "")
    made.path.mkdir(parents=True)
    if network is not None:
        save_network(network, made.path / NETWORK)
    made.finish(dict(result))
    return made


def shown(package: Package, name: str, folders: dict[str, StageFolder], first: Shape, **networks: nn.Module) -> Variant:
    """The variant of a package of this name, as an evaluation of `networks` tells it."""
    figure = {"mAP50": {"value": 0.5, "low": 0.4, "high": 0.6, "minus baseline": {"value": 0, "low": 0, "high": 0}}}
    figures = {"networks": dict.fromkeys(networks, figure), "packages": {name: figure}}
    latency = Latency(Estimate(1, 1, 1), Estimate(2, 2, 2), 1000.0, 99)
    speeds = {shape: dict.fromkeys(networks, latency) for shape in (first, OWN)}
    speeds[OWN] |= {name: latency}
    (found,) = list(variants(Compared(networks, {name: package}, figures), folders, speeds))[len(networks) :]
    return found


def test_a_package_of_another_size_and_of_a_network_that_is_not_evaluated_is_shown(tmp_path: Path, package: Package):
    folders = {
        "whole": stage(tmp_path, "whole", WHOLE),
        "thin": stage(tmp_path, "thin", THIN),
        "package": stage(tmp_path, "package", start="thin"),
    }
    found = shown(package, "package", folders, (3, 64, 64), whole=WHOLE)
    assert found.name == "yolov3-trimmed-bccd:1: thin as int8, 256 × 256 pixels"
    assert found.parameters == parameter_count(THIN)
    assert found.latency is not None
    at_first_size = shown(package, "package", folders, OWN, whole=WHOLE)
    assert at_first_size.name == "yolov3-trimmed-bccd:1: thin as int8"
    assert at_first_size.macs == found.macs


def test_networks_are_timed_at_the_size_of_training_too(package: Package):
    compared = Compared({"whole": WHOLE}, {"package": package}, {})
    assert compared.shapes((3, 64, 64)) == [(3, 64, 64), OWN]
    assert compared.shapes(OWN) == [OWN]
    assert Compared({"whole": WHOLE}, {}, {}).shapes(OWN) == [OWN]


def test_a_package_that_was_made_anew_since_it_was_measured_is_left_out(tmp_path: Path, package: Package):
    folders = {"package": stage(tmp_path, "package", package=str(package.folder), digest=package.digest)}
    for digest, there in ((package.digest, ["package"]), ("0" * 64, [])):
        figures = {"networks": {}, "packages": {"package": {"digest": digest}}}
        assert list(Compared.read(figures, folders).packages) == there


def test_the_figure_of_each_class_is_told_of_what_is_shown(package: Package):
    figure = {
        "mAP50": {"value": 0.5, "classes": {"cell": {"n": 12, "value": 0.25}, "disk": {"n": 1000, "value": 0.75}}}
    }
    measured = {"networks": {"whole": figure}, "packages": {"package": figure, "gone": figure}}
    table = class_table(Compared({"whole": WHOLE}, {"package": package}, measured))
    assert table is not None
    assert (table.title, table.columns) == ("AP50 of each class, %", ("class", "boxes", "whole", "package"))
    assert table.rows == (("cell", "12", "25.00", "25.00"), ("disk", "1,000", "75.00", "75.00"))
    before = {"networks": {"whole": {"parameters": 1, "mAP50": {"value": 0.5}}}, "packages": {}}
    assert class_table(Compared({"whole": WHOLE}, {}, before)) is None


def test_a_stage_of_the_same_name_lends_nothing_to_a_package_of_another_recipe(tmp_path: Path, package: Package):
    folders = {"thin": stage(tmp_path, "thin", WHOLE), "other/package": stage(tmp_path, "other-package", start="thin")}
    unknown = shown(package, "other/package", folders, OWN, thin=WHOLE)
    assert unknown.name == "yolov3-trimmed-bccd:1: other/thin as int8"
    assert (unknown.parameters, unknown.macs) == (None, None)
    folders["other/thin"] = stage(tmp_path, "other-thin", THIN)
    assert shown(package, "other/package", folders, OWN, thin=WHOLE).parameters == parameter_count(THIN)
