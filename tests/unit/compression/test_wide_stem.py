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
from edgedet_compression.quantization.quantize import QuantizedNetwork, YoloShape, quantize
from edgedet_runtime.manifest import InputSpec, Provenance
from edgedet_runtime.segments import find_boundaries
from edgedet_runtime.verification import verify_package

from tests.unit.compression.small_networks import SIDE, bias, detector, photos, weights


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


def without(model: onnx.ModelProto, attribute: str) -> onnx.ModelProto:
    """The stem leaves an attribute to ONNX's default."""
    stem = next(node for node in model.graph.node if node.name == "stem")
    stem.attribute.remove(next(item for item in stem.attribute if item.name == attribute))
    del model.graph.value_info[:]
    return model


def both(model: onnx.ModelProto, yolo: YoloShape | None = None) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Quantized with a wide stem, and with the thin one."""
    wide = quantize(model, photos(0), Normalization(), yolo).model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize_module, "widen_stem", lambda model: model)
        return wide, quantize(model, photos(0), Normalization(), yolo).model


def same_codes(left: onnx.ModelProto, right: onnx.ModelProto) -> bool:
    sessions = [ort.InferenceSession(model.SerializeToString()) for model in (left, right)]
    answers = [[session.run(None, {"image": photo})[0] for photo in photos(1, 8)] for session in sessions]
    return np.array_equal(*answers)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("channels", "kernel"), [(4, 3), (16, 3), (32, 3), (8, 5), (8, 1)])
def test_a_wide_stem_gives_the_thin_ones_codes(channels: int, kernel: int, tmp_path: Path):
    wide, thin = both(network(channels, kernel))
    assert "Reshape" in operators(wide)
    assert "Reshape" not in operators(thin)
    assert same_codes(wide, thin)
    text = PackageText("wide", 1, "", tuple("abcd"), "none", Provenance(recipe="test", tool_version="0"))
    source = InputSpec(name="image", height=SIDE, width=SIDE, channels=4)
    assert verify_package(write_model_package(tmp_path / "package", text, source, QuantizedNetwork(wide, ())), []) >= 1


@pytest.mark.parametrize("attribute", ["pads", "kernel_shape", "strides", "group"])
def test_a_stem_may_leave_its_attributes_to_their_defaults(attribute: str):
    wide, thin = both(without(network(8), attribute))
    # Without padding the maps have 30 pixels; they halve too.
    assert "Reshape" in operators(wide)
    assert same_codes(wide, thin)


def test_a_wide_stem_is_cut_where_a_thin_one_is():
    """Never between the groups and their maximum, where four times as many codes are alive."""
    wide, thin = both(detector(0), YoloShape((2, 2), 3))
    assert "Reshape" in operators(wide)
    assert [cut.tensors for cut in find_boundaries(wide)] == [cut.tensors for cut in find_boundaries(thin)]


@pytest.mark.parametrize("form", [{"channels": 48}, {"channels": 8, "stride": 2}, {"channels": 8, "pool": 4}])
def test_other_stems_stay_as_they_are(form: dict[str, int]):
    wide = quantize(network(**form), photos(0), Normalization())
    assert "Reshape" not in operators(wide.model)
