"""Tails for other servers: what goes through them, and packages that have none."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.manifest import Boundary, InputSpec
from edgedet_runtime.package import Package
from edgedet_runtime.repository_export import export_repository
from edgedet_runtime.segments import output_specs

from tests.unit import quantized_networks


def package_of(package: Package, tmp_path: Path) -> Package:
    """The two-headed network as a package, cut behind its first head."""
    network = quantized_networks.two_headed_network()
    (tmp_path / "model.onnx").write_bytes(network.SerializeToString())
    outputs = output_specs(network)
    update = {
        "name": "small",
        "input": InputSpec(name="image", height=16, width=16, channels=4),
        "outputs": outputs,
        "boundaries": (Boundary(k=1, tensors=outputs[:1], head_macs=1),),
    }
    return Package(tmp_path, package.manifest.model_copy(update=update), "")


def test_an_output_that_the_tail_reads_and_hands_on_is_one_input(package: Package, tmp_path: Path):
    small = package_of(package, tmp_path)
    whole = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 4), np.uint8)
    first, second = whole.run(["first", "second"], {"image": image})
    assert export_repository(small, tmp_path / "repository") == ["small-tail-1"]
    tail = onnxruntime.InferenceSession(tmp_path / "repository" / "small-tail-1" / "1" / "model.onnx")
    assert [given.name for given in tail.get_inputs()] == ["first"]
    found = tail.run(["first", "second"], {"first": first})
    assert np.array_equal(found[0], first)
    assert np.array_equal(found[1], second)
    assert (tmp_path / "repository" / "small-tail-1" / "config.pbtxt").read_text().count("input [") == 1
    next_one = Package(small.folder, small.manifest.model_copy(update={"version": 2}), "")
    with pytest.raises(PackageRefused, match="small-tail-1: exists already; choose an empty repository"):
        export_repository(next_one, tmp_path / "repository")  # it would overwrite the configuration


def test_a_package_without_boundaries_has_nothing_to_export(package: Package, tmp_path: Path):
    uncut = Package(package.folder, package.manifest.model_copy(update={"boundaries": ()}), "")
    with pytest.raises(PackageRefused, match="has no boundary, so there is no tail"):
        export_repository(uncut, tmp_path)
