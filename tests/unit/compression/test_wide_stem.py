"""A wide stem: the same codes, read by both backends; other networks stay as they are."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgedet_compression.export.package_writer import PackageText, write_model_package
from edgedet_compression.networks.graph_builder import GraphBuilder
from edgedet_compression.quantization import quantize as quantize_module
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import quantize
from edgedet_runtime.manifest import InputSpec, Provenance
from edgedet_runtime.verification import verify_package

from tests.unit.compression.small_networks import SIDE, bias, photos, weights


def network(channels: int, kernel: int = 3, stride: int = 1, pool: int = 2) -> onnx.ModelProto:
    """A first convolution, a pool, a LeakyRelu, a classifier."""
    rng = np.random.default_rng(channels)
    graph = GraphBuilder("pooled", (1, 3, SIDE, SIDE))
    kernels = weights(rng, channels, 3, kernel, kernel)
    graph.conv("stem", "image", kernels, bias(rng, channels), stride=stride, padding=kernel // 2)
    graph.leaky_relu("leaky", "stem", 0.1)
    graph.max_pool("pool", "leaky", pool, 2, (0, 0, 0, 0))
    graph.apply("GlobalAveragePool", "mean", ["pool"])
    graph.apply("Flatten", "features", ["mean"])
    graph.linear("logits", "features", weights(rng, 4, channels), bias(rng, 4))
    return graph.model(["logits"])


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("channels", "kernel"), [(4, 3), (16, 3), (32, 3), (8, 5), (8, 1)])
def test_a_wide_stem_gives_the_thin_ones_codes(
    channels: int, kernel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = network(channels, kernel)
    wide = quantize(model, photos(0), Normalization())
    with monkeypatch.context() as patch:
        patch.setattr(quantize_module, "widen_stem", lambda model: model)
        thin = quantize(model, photos(0), Normalization())
    assert "Reshape" in operators(wide.model)
    assert "Reshape" not in operators(thin.model)
    for photo in photos(1, 8):
        found, wanted = (
            ort.InferenceSession(part.model.SerializeToString()).run(None, {"image": photo})[0] for part in (wide, thin)
        )
        assert (found == wanted).all()
    text = PackageText("wide", 1, "", tuple("abcd"), "none", Provenance(recipe="test", tool_version="0"))
    source = InputSpec(name="image", height=SIDE, width=SIDE, channels=4)
    assert verify_package(write_model_package(tmp_path / "package", text, source, wide), []) >= 1


@pytest.mark.parametrize("form", [{"channels": 48}, {"channels": 8, "stride": 2}, {"channels": 8, "pool": 4}])
def test_other_stems_stay_as_they_are(form: dict[str, int]):
    wide = quantize(network(**form), photos(0), Normalization())
    assert "Reshape" not in operators(wide.model)
