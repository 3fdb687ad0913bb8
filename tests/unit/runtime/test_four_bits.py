"""Networks of 4 bits (INT4 behind a Cast, codes held by a Min) are read, cut and run as others."""

import numpy as np
import onnx
import onnxruntime
import pytest
from edgedet_runtime.backend import Backend, RunContext
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgedet_runtime.backends.reference import ReferenceBackend
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.manifest import Boundary, InputSpec, TensorSpec
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import cut, find_boundaries, output_specs

SOURCE = InputSpec(name="image", height=16, width=16, channels=4)
CUTS = {
    "stem": TensorSpec(name="stem", shape=(1, 16, 16, 8), dtype="uint8"),
    "pooled": TensorSpec(name="pooled", shape=(1, 8, 8, 8), dtype="uint8"),
    "flat": TensorSpec(name="flat", shape=(1, 8), dtype="uint8"),
    "hidden": TensorSpec(name="hidden", shape=(1, 12), dtype="uint8"),
}
BACKENDS = [OnnxRuntimeBackend(), ReferenceBackend()]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (1, 16, 16, 4), np.uint8)


def run_tail(network: onnx.ModelProto, name: str, image: np.ndarray, backend: Backend) -> dict[str, np.ndarray]:
    """Codes at the cut, and the logits behind it."""
    live = {"image": image}
    boundary = Boundary(k=1, tensors=(CUTS[name],), head_macs=1)
    for segment in cut(network, SOURCE, [boundary], output_specs(network)):
        made = backend.prepare(segment).run([live[s.name] for s in segment.inputs], RunContext()).tensors
        live |= dict(zip((s.name for s in segment.outputs), made, strict=True))
    return live


def test_layers_know_their_weights_and_the_most_that_their_codes_can_be(four_bit_network: onnx.ModelProto):
    layers = {layer.name: layer for layer in read_quantized_graph(four_bit_network).layers}
    assert [layers[name].output.name for name in ("stem", "pooled", "body", "mean", "flat", "hidden")] == [
        "stem", "pooled", "body", "mean", "flat", "hidden",
    ]  # fmt: skip
    assert all(layers[name].output.most == 15 for name in ("stem", "pooled", "body", "mean", "flat", "hidden"))
    assert layers["stem"].inputs[0].most == 255
    assert layers["body"].inputs[0].most == 15
    for name in ("stem", "body", "hidden", "logits"):
        weights = layers[name].weights
        assert weights is not None
        assert weights.codes.dtype == np.int8
        assert (weights.codes.min(), weights.codes.max()) == (-7, 7)


def test_an_eight_bit_network_has_all_codes(residual_network: onnx.ModelProto):
    graph = read_quantized_graph(residual_network)
    assert {codes.most for layer in graph.layers for codes in (*layer.inputs, layer.output)} == {255}


@pytest.mark.parametrize("name", CUTS)
def test_both_backends_give_the_fused_networks_codes_at_every_cut(
    four_bit_network: onnx.ModelProto, name: str, image: np.ndarray
):
    session = onnxruntime.InferenceSession(four_bit_network.SerializeToString(), onnxruntime.SessionOptions())
    fused = session.run(None, {"image": image})[0]
    fast, slow = (run_tail(four_bit_network, name, image, backend) for backend in BACKENDS)
    assert np.array_equal(fast["logits"], fused)
    assert np.array_equal(slow["logits"], fused)
    assert np.array_equal(fast[name], slow[name])
    assert np.unique(fast[name]).size > 3
    assert fast[name].max() <= 15


@pytest.mark.parametrize("name", CUTS)
def test_a_tail_holds_what_it_gets_to_16_codes(four_bit_network: onnx.ModelProto, name: str, image: np.ndarray):
    """A tail alone knows how many codes its inputs have, and larger ones do not get far."""
    boundary = Boundary(k=1, tensors=(CUTS[name],), head_macs=1)
    tail = cut(four_bit_network, SOURCE, [boundary], output_specs(four_bit_network))[1]
    read = [codes for layer in read_quantized_graph(tail.model).layers for codes in layer.inputs]
    assert {codes.most for codes in read[1:]} == {15}
    noise = np.random.default_rng(3).integers(0, 256, CUTS[name].shape, np.uint8)
    for backend in BACKENDS:
        runner = backend.prepare(tail)
        given, held = (runner.run([codes], RunContext()).tensors[0] for codes in (noise, np.minimum(noise, 15)))
        assert np.array_equal(given, held)


def test_boundaries_lie_behind_the_held_codes(four_bit_network: onnx.ModelProto):
    names = {tensor.name for boundary in find_boundaries(four_bit_network) for tensor in boundary.tensors}
    assert names <= {"stem", "pooled", "body", "mean", "flat", "hidden"}
    assert "pooled" in names


def test_codes_that_are_read_beside_their_min_are_named(four_bit_network: onnx.ModelProto):
    model = onnx.ModelProto()
    model.CopyFrom(four_bit_network)
    read = next(node for node in model.graph.node if node.output[0] == "pooled_0_read")
    read.input[0] = "stem_free"
    with pytest.raises(GraphUnsupported, match=r"node 'stem_held' \(Min\): must hold codes to one constant, and alone"):
        read_quantized_graph(model)
