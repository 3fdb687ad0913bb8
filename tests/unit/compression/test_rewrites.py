"""Rewrites change a network's form and not its answer; what no rewrite fits is refused by name."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.quantization.float_graph import load_float_graph
from edgedet_compression.quantization.input_stem import Normalization, absorb_normalization
from edgedet_compression.quantization.quantizable import QUANTIZABLE
from edgedet_compression.quantization.quantize import as_network_reads
from edgedet_compression.quantization.rewrites import simplify
from edgedet_runtime.errors import GraphUnsupported
from onnx import TensorProto, helper, numpy_helper

Nodes = list[onnx.NodeProto]
RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.normal(size=(6, 3, 3, 3)),
    "gamma": RNG.uniform(0.5, 2, 6),
    "beta": RNG.normal(size=6),
    "mean": RNG.normal(size=6),
    "variance": RNG.uniform(0.5, 2, 6),
    "dense": RNG.normal(size=(6, 4)),
    "dense_bias": RNG.normal(size=4),
    "spread": RNG.uniform(0.5, 2, 4),
    "coordinates": RNG.uniform(-1, 1, (1, 2, 6, 6)),
}
INTEGERS = {
    "axes": [2, 3],
    "flat_shape": [1, 6],
    "pads": [0, 0, 1, 1, 0, 0, 1, 1],
    "doubled": [1, 6, 12, 12],
    "halves": [1, 6, 9, 9],
}


def network(nodes: Nodes, shape: tuple[int, ...] = (1, 3, 8, 8), kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A network from "x" to "y"; constants by the names above."""
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in CONSTANTS.items()]
    constants += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in INTEGERS.items()]
    constants += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("0", 0), ("6", 6))]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def node(operator: str, inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, [output], name=f"the_{operator}", **attributes)


CONV = node("Conv", "x w", "c")
POOLED: Nodes = [CONV, node("GlobalAveragePool", "c", "g"), node("Flatten", "g", "f")]
CASES: dict[str, Nodes] = {
    "batch norm behind a convolution": [CONV, node("BatchNormalization", "c gamma beta mean variance")],
    "batch norm behind a fully connected layer": [
        *POOLED,
        node("Gemm", "f dense dense_bias", "h"),
        node("BatchNormalization", "h spread dense_bias dense_bias spread", "b"),
        node("Relu", "b"),
    ],
    "pixels doubled": [CONV, node("Resize", "c - - doubled")],
    "batch norm behind a Relu": [
        CONV,
        node("Relu", "c", "r"),
        node("BatchNormalization", "r gamma beta mean variance"),
    ],
    "matrix product and sum": [*POOLED, node("MatMul", "f dense", "m"), node("Add", "m dense_bias")],
    "sum the other way around": [*POOLED, node("MatMul", "f dense", "m"), node("Add", "dense_bias m")],
    "untransposed Gemm": [*POOLED, node("Gemm", "f dense dense_bias", alpha=0.5, beta=2.0)],
    "average pool": [CONV, node("AveragePool", "c", kernel_shape=[2, 2], strides=[2, 2])],
    "average pool of pixels that lie apart": [CONV, node("AveragePool", "c", kernel_shape=[2, 2], dilations=[2, 2])],
    "average pool over everything": [CONV, node("AveragePool", "c", kernel_shape=[6, 6])],
    "mean that keeps its axes": [CONV, node("ReduceMean", "c axes", keepdims=1)],
    "mean that drops its axes": [CONV, node("ReduceMean", "c axes", keepdims=0)],
    "reshape to a row": [CONV, node("GlobalAveragePool", "c", "g"), node("Reshape", "g flat_shape")],
    "padding before a convolution": [node("Pad", "x pads", "p"), node("Conv", "p w")],
    "identity and dropout": [node("Identity", "x", "i"), node("Conv", "i w", "c"), node("Dropout", "c")],
    "leaky before its pool": [
        CONV,
        node("LeakyRelu", "c", "l", alpha=0.1),
        node("MaxPool", "l", kernel_shape=[2, 2], strides=[2, 2]),
    ],
    "pools whose windows end at the edge, though rounded up": [
        CONV,
        node("MaxPool", "c", "m", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("AveragePool", "m", kernel_shape=[2, 2], dilations=[2, 2], ceil_mode=1),
    ],
    "ReLU6": [CONV, node("Clip", "c 0 6")],
    **{
        f"padding as {kind} at stride {stride}": [node("Conv", "x w", auto_pad=kind, strides=[stride, stride])]
        for kind in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for stride in (1, 2, 3)
    },
    "a pool with padding as SAME_UPPER": [
        CONV,
        node("MaxPool", "c", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    ],
}


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("case", CASES)
def test_a_rewritten_network_gives_the_same_answer(case: str):
    model = network(CASES[case])
    graph = load_float_graph(model)
    simplify(graph)
    assert {part.operator for part in graph.nodes} <= QUANTIZABLE.keys()
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(graph.model(), x), run(model, x), rtol=1e-4, atol=1e-4)


def test_a_softmax_at_the_end_falls_away():
    graph = load_float_graph(network([*POOLED, node("Gemm", "f dense", "m"), node("Softmax", "m")]))
    simplify(graph)
    assert graph.nodes[-1].operator == "Gemm"


def test_a_network_that_reads_nhwc_is_turned_around():
    model = network([node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w")], (1, 8, 8, 3))
    graph = load_float_graph(model)
    simplify(graph)
    assert graph.shapes[graph.input] == (1, 3, 8, 8)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(run(graph.model(), x.transpose(0, 3, 1, 2)), run(model, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_give_the_answer_of_normalized_pixels_the_padding_included(seed: int):
    rng = np.random.default_rng(seed)
    model = network([node("Conv", "x w", pads=[1, 1, 1, 1])])
    normalization = Normalization(tuple(rng.uniform(0.3, 0.6, 3)), tuple(rng.uniform(0.2, 0.3, 3)))
    graph = load_float_graph(model)
    zero_point = absorb_normalization(graph, normalization)
    photo = rng.integers(0, 256, (1, 8, 8, 4), np.uint8)
    photo[..., 3] = 255
    pixels = photo[..., :3].astype(np.float32) / 255
    values = ((pixels - normalization.mean) / normalization.std).astype(np.float32).transpose(0, 3, 1, 2)
    found = run(graph.model(), as_network_reads(photo, zero_point))
    np.testing.assert_allclose(found, run(model, values), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([CONV, node("Tanh", "c")], "'the_Tanh': operator Tanh cannot be quantized"),
        ([CONV, node("PRelu", "c 6")], "'the_PRelu': operator PRelu"),
        ([node("Pad", "x pads", "p", mode="reflect"), node("Conv", "p w")], "except zeros right before a Conv"),
        ([CONV, node("Clip", "c 6")], "except with minimum 0"),
        ([CONV, node("Add", "c 6")], "except of two computed tensors"),
        ([CONV, node("Concat", "c c", axis=2)], "except along the channels"),
        ([CONV, node("Concat", "c coordinates", axis=1)], "of computed tensors"),
        (
            [CONV, node("MaxPool", "c", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
            "MaxPool with ceil_mode .pad its right and lower edge instead",
        ),
        ([CONV, node("Resize", "c - - doubled", mode="linear")], "Resize except nearest, where each pixel is repeated"),
        ([CONV, node("Resize", "c - - halves")], "Resize except nearest"),
        (
            [*POOLED, node("BatchNormalization", "f gamma beta mean variance")],
            "BatchNormalization except of maps, or right behind a fully connected layer",
        ),
    ],
)
def test_an_operator_that_stands_in_the_way_is_named(nodes: Nodes, message: str):
    graph = load_float_graph(network(nodes))
    with pytest.raises(GraphUnsupported, match=message):
        simplify(graph)


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, (1, 3, 8, 8)))


def open_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def other_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def flat_input(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[2:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_inputs, "it has 2: x, x2"),
        (open_size, "size that is not fixed"),
        (other_type, "must be float32"),
        (flat_input, "has 2 axes"),
    ],
)
def test_an_input_that_is_no_image_is_refused(change: Callable[[onnx.ModelProto], None], message: str):
    model = network([node("Conv", "x w")])
    change(model)
    with pytest.raises(SourceUnreadable, match=message):
        load_float_graph(model)


def test_an_operator_of_another_domain_is_refused():
    model = network([CONV, helper.make_node("FusedConv", ["c", "w"], ["y"], domain="com.microsoft")])
    with pytest.raises(GraphUnsupported, match=r"com\.microsoft"):
        load_float_graph(model)
