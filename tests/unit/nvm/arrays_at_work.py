"""Run a compiled network and the oracle side by side, every layer's codes exposed."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from edgedet_nvm.cells import LayerPlan
from edgedet_nvm.compile.network import CompiledNetwork, exposed, noise_name
from edgedet_nvm.oracle import run_oracle
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.quantized_graph import read_quantized_graph
from onnx import TensorProto


def digital_outputs(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a network that is not compiled."""
    session = ort.InferenceSession(model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def every_layer(model: onnx.ModelProto) -> dict[str, int]:
    """Names and types of all layers' outputs."""
    outputs = [layer.output for layer in read_quantized_graph(model).layers]
    return {codes.name: TensorProto.FLOAT if codes.is_float else TensorProto.UINT8 for codes in outputs}


def run(
    compiled: CompiledNetwork, digital: onnx.ModelProto, image: np.ndarray, noise: Mapping[str, np.ndarray] = {}
) -> dict[str, np.ndarray]:
    """All layers' outputs of the compiled network."""
    model = exposed(compiled.model, every_layer(digital))
    session = ort.InferenceSession(model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    feeds = {digital.graph.input[0].name: image} | {noise_name(name): values for name, values in noise.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_equals_oracle(
    compiled: CompiledNetwork,
    digital: onnx.ModelProto,
    plans: Mapping[str, LayerPlan],
    image: np.ndarray,
    noise: Mapping[str, np.ndarray] = {},
) -> dict[str, np.ndarray]:
    """Compare every code of every layer; gives the oracle's tensors."""
    found = run(compiled, digital, image, noise)
    expected = run_oracle(digital, plans, {digital.graph.input[0].name: image}, noise).tensors
    assert len(found) > len(plans)
    for name, codes in found.items():
        np.testing.assert_array_equal(codes, expected[name], err_msg=name)
    return expected
