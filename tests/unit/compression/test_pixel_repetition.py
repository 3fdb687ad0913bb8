"""Which Resize repeats pixels: ONNX Runtime says."""

import numpy as np
import onnxruntime as ort
import pytest
from edgedet_compression.quantization.float_graph import Node
from edgedet_compression.quantization.pixel_repetition import repeats_pixels
from onnx import TensorProto, helper, numpy_helper

MODES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def resized(x: np.ndarray, after: tuple[int, ...], **attributes: str) -> np.ndarray:
    sizes = numpy_helper.from_array(np.array(after, np.int64), "sizes")
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_a_resize_is_taken_where_it_repeats_every_pixel(mode: str, rounding: str, factor: int):
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 5)).astype(np.float32)
    after = (1, 2, 3 * factor, 5 * factor)
    attributes = {"coordinate_transformation_mode": mode, "nearest_mode": rounding, "mode": "nearest"}
    repeated = np.array_equal(resized(x, after, **attributes), x.repeat(factor, 2).repeat(factor, 3))
    taken = repeats_pixels(Node("Resize", "r", ["x"], ["y"], attributes), x.shape, after)
    # Modes that nobody exports may be refused although they would do.
    assert taken == (repeated and mode != "align_corners")


@pytest.mark.parametrize(
    ("after", "mode"),
    [((1, 2, 4, 10), "nearest"), ((1, 4, 6, 10), "nearest"), ((1, 2, 6, 10), "linear"), ((1, 2, 2, 5), "nearest")],
)
def test_other_sizes_and_interpolations_are_not_taken(after: tuple[int, ...], mode: str):
    assert not repeats_pixels(Node("Resize", "r", ["x"], ["y"], {"mode": mode}), (1, 2, 3, 5), after)
