"""A user's ONNX file may have its weights in files beside it."""

from pathlib import Path

import onnx
import pytest
from edgedet_compression.errors import BuildRefused
from edgedet_compression.own_network import OwnNetwork
from edgedet_runtime.package import file_sha256

from tests.unit.compression.small_networks import classifier


def saved(folder: Path, seed: int) -> OwnNetwork:
    """A network of these weights, which lie beside its file."""
    folder.mkdir()
    onnx.save(
        classifier(seed), folder / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0
    )
    return OwnNetwork(folder / "net.onnx", ("ant", "bee"))


def test_what_a_package_is_made_from_tells_of_weights_beside_the_file(tmp_path: Path):
    own, other = saved(tmp_path / "one", 0), saved(tmp_path / "other", 1)
    assert file_sha256(own.file) == file_sha256(other.file)
    assert own.read_parent() != other.read_parent()
    assert own.read_parent() == saved(tmp_path / "again", 0).read_parent()
    assert own.read_parent().startswith(f"net.onnx, sha256 {file_sha256(own.file)}, weights beside it, sha256 ")
    own.file.unlink()
    onnx.save(classifier(0), own.file)
    assert own.read_parent() == f"net.onnx, sha256 {file_sha256(own.file)}"


def test_weights_that_are_not_beside_the_file_are_named(tmp_path: Path):
    own = saved(tmp_path / "one", 0)
    read, wanted = (
        [onnx.numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer]
        for model in (own.read(), classifier(0))
    )
    assert read == wanted
    own.file.with_name("net.onnx.data").unlink()
    with pytest.raises(BuildRefused, match=r"net.onnx: its weights must lie beside it: .*net.onnx.data"):
        own.read()
