"""Cuts: wherever a network is cut, the chain's codes are the fused network's, on both backends."""

import copy
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from edgedet_runtime.backend import Backend, RunContext
from edgedet_runtime.backends.onnxruntime import OnnxRuntimeBackend, session_options
from edgedet_runtime.backends.reference import ReferenceBackend
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.manifest import Boundary, InputSpec, TensorSpec
from edgedet_runtime.package import Package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.segments import cut, find_boundaries, load_network, output_specs

from tests.unit.quantized_networks import recoding_network

SOURCE = InputSpec(name="image", height=16, width=16, channels=4)


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(1, *shape), dtype="uint8")


# Cuts inside the residual and inside the branch carry two tensors.
CUTS = {
    "stem": [spec("stem", 16, 16, 8)],
    "in the residual": [spec("inner", 16, 16, 8), spec("stem", 16, 16, 8)],
    "pooled": [spec("pooled", 8, 8, 8)],
    "in the branch": [spec("left", 8, 8, 8), spec("pooled", 8, 8, 8)],
    "both branches": [spec("left", 8, 8, 8), spec("right", 8, 8, 8)],
    "grown": [spec("grown", 16, 16, 16)],
    "flat": [spec("flat", 16)],
}


def run_chain(
    model: onnx.ModelProto, boundaries: Sequence[Boundary], image: np.ndarray, backend: Backend
) -> np.ndarray:
    live = {"image": image}
    for segment in cut(model, SOURCE, boundaries, output_specs(model)):
        runner = backend.prepare(segment)
        made = runner.run([live[s.name] for s in segment.inputs], RunContext()).tensors
        live |= dict(zip((s.name for s in segment.outputs), made, strict=True))
    return live["logits"]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1, 16, 16, 4), np.uint8)


@pytest.fixture(scope="module")
def fused(residual_network: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(residual_network.SerializeToString(), onnxruntime.SessionOptions())
    return session.run(None, {"image": image})[0]


@pytest.mark.parametrize("backend", [OnnxRuntimeBackend(), ReferenceBackend()], ids=lambda backend: backend.name)
@pytest.mark.parametrize("tensors", CUTS.values(), ids=CUTS)
def test_every_cut_gives_the_fused_networks_values(
    residual_network: onnx.ModelProto, tensors: list[TensorSpec], backend: Backend, image: np.ndarray, fused: np.ndarray
):
    boundary = Boundary(k=1, tensors=tuple(tensors), head_macs=1)
    assert np.array_equal(run_chain(residual_network, [boundary], image, backend), fused)


def test_a_relu_ends_on_whatever_zero_point_its_output_has(residual_network: onnx.ModelProto, image: np.ndarray):
    network = copy.deepcopy(residual_network)
    for tensor in network.graph.initializer:
        if tensor.name in {"stem_zero_point", "last_zero_point"}:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(60, np.uint8), tensor.name))
    found, expected = (run_chain(network, [], image, backend) for backend in (ReferenceBackend(), OnnxRuntimeBackend()))
    assert np.array_equal(found, expected)


def test_what_only_moves_values_may_change_their_codes(image: np.ndarray):
    network = recoding_network()
    found, expected = (run_chain(network, [], image, backend) for backend in (ReferenceBackend(), OnnxRuntimeBackend()))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("backend", [OnnxRuntimeBackend(), ReferenceBackend()], ids=lambda backend: backend.name)
def test_a_chain_of_all_cuts_gives_the_fused_networks_values(
    residual_network: onnx.ModelProto, backend: Backend, image: np.ndarray, fused: np.ndarray
):
    boundaries = [
        Boundary(k=k, tensors=tuple(tensors), head_macs=k) for k, tensors in enumerate(CUTS.values(), start=1)
    ]
    assert np.array_equal(run_chain(residual_network, boundaries, image, backend), fused)


def test_kept_boundaries_are_pareto_optimal_up_to_the_fewest_bytes(residual_network: onnx.ModelProto):
    boundaries = find_boundaries(residual_network)
    assert [boundary.k for boundary in boundaries] == list(range(1, len(boundaries) + 1))
    heads = [boundary.head_macs for boundary in boundaries]
    assert heads == sorted(set(heads))
    fewest = min(range(len(boundaries)), key=lambda index: boundaries[index].nbytes)
    sizes = [boundary.nbytes for boundary in boundaries[: fewest + 1]]
    assert sizes == sorted(set(sizes), reverse=True)


def test_the_packages_boundaries_are_those_that_are_found_today(package: Package):
    model = load_network(package.path("model.onnx"))
    assert find_boundaries(model) == package.manifest.boundaries
    assert output_specs(model) == package.manifest.outputs
    assert read_quantized_graph(model).macs == package.manifest.macs


def test_segments_share_the_work_without_overlap(package: Package):
    model = load_network(package.path("model.onnx"))
    segments = cut(model, package.manifest.input, package.manifest.boundaries, package.manifest.outputs)
    assert sum(segment.macs for segment in segments) == package.manifest.macs
    for segment in segments:
        assert read_quantized_graph(segment.model).macs == segment.macs
    weights = sum(
        t.ByteSize()
        for segment in segments
        for t in segment.model.graph.initializer
        if t.name.endswith("_weight_codes")
    )
    assert weights == sum(t.ByteSize() for t in model.graph.initializer if t.name.endswith("_weight_codes"))


def test_tensors_that_do_not_separate_the_network_are_refused(residual_network: onnx.ModelProto):
    boundary = Boundary(k=1, tensors=(spec("inner", 16, 16, 8),), head_macs=1)
    with pytest.raises(GraphUnsupported, match="cannot be made from"):
        cut(residual_network, SOURCE, [boundary], output_specs(residual_network))


def test_weights_in_other_files_are_refused(residual_network: onnx.ModelProto, tmp_path):
    network = copy.deepcopy(residual_network)  # which onnx changes as it saves
    onnx.save(network, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    with pytest.raises(GraphUnsupported, match="other files"):
        load_network(tmp_path / "model.onnx")
    outside = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer.pop()
    network = copy.deepcopy(residual_network)
    network.graph.node.append(onnx.helper.make_node("Constant", [], ["outside"], value=outside))
    (tmp_path / "constant.onnx").write_bytes(network.SerializeToString())
    with pytest.raises(GraphUnsupported, match="other files"):
        load_network(tmp_path / "constant.onnx")


def test_a_session_has_one_thread_that_does_not_spin():
    options = session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
