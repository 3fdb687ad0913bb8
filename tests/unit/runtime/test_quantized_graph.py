"""The reader of quantized graphs: every layer, its codes and scales; what it cannot read it names."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.quantized_graph import read_quantized_graph
from onnx import helper


def test_layers_come_with_their_codes_scales_and_work(residual_network: onnx.ModelProto):
    graph = read_quantized_graph(residual_network)
    layers = {layer.name: layer for layer in graph.layers}
    stem = layers["stem"]
    assert (stem.op, stem.relu, stem.output.shape) == ("Conv", True, (1, 8, 16, 16))
    assert stem.macs == 8 * 4 * 9 * 16 * 16
    assert stem.weights is not None
    assert stem.weights.codes.dtype == np.int8
    assert np.abs(stem.weights.codes).max() <= 64
    assert stem.weights.scales.shape == stem.weights.bias.shape == (8,)
    assert [codes.name for codes in layers["added"].inputs] == ["inner", "stem"]
    assert layers["inner"].output.zero_point == 117
    assert layers["last"].macs == 16 * 8 * 9 * 16 * 16
    assert layers["grown"].attributes["scales"] == (1, 1, 2, 2)
    assert [codes.name for codes in graph.inputs] == ["image"]
    assert graph.outputs[0].is_float
    assert graph.macs == sum(layer.macs for layer in graph.layers)


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def constant_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def rename_operator(model: onnx.ModelProto) -> None:
    node_of(model, "left").op_type = "Softplus"
    del node_of(model, "left").attribute[:]


def skip_dequantization(model: onnx.ModelProto) -> None:
    # The convolution reads the float value in front of a quantization.
    node_of(model, "inner").input[0] = "stem_relu_value"


def use_vector_scale(model: onnx.ModelProto) -> None:
    constant_of(model, "stem_scale").CopyFrom(onnx.numpy_helper.from_array(np.array([0.05], np.float32), "stem_scale"))


def use_signed_codes(model: onnx.ModelProto) -> None:
    constant_of(model, "joined_zero_point").CopyFrom(
        onnx.numpy_helper.from_array(np.array(0, np.int8), "joined_zero_point")
    )


def use_cubic_resize(model: onnx.ModelProto) -> None:
    helper_attribute = next(a for a in node_of(model, "grown").attribute if a.name == "mode")
    helper_attribute.CopyFrom(helper.make_attribute("mode", "cubic"))


def free_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def drop_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(constant_of(model, "stem_scale"))


def constant_changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def damage(model: onnx.ModelProto) -> None:
        tensor = constant_of(model, name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(tensor)), name))

    return damage


def attribute_added(node: str, **attribute: object) -> Callable[[onnx.ModelProto], None]:
    return lambda model: node_of(model, node).attribute.extend([helper.make_attribute(*attribute.popitem())])


BROKEN: dict[str, Callable[[onnx.ModelProto], None]] = {
    "operator Softplus is not read": rename_operator,
    "its output is not quantized": skip_dequantization,
    "scalar scale": use_vector_scale,
    "uint8 zero point": use_signed_codes,
    "only nearest, asymmetric, floor": use_cubic_resize,
    "told in numbers": free_batch,
    "shapes cannot be told": drop_constant,
    "'stem_weight' must be int8 with zero point 0": constant_changed("stem_weight_zero_point", lambda zero: zero + 3),
    "'inner_weight' must be int8": constant_changed("inner_weight_codes", lambda codes: codes.astype(np.uint8)),
    "'stem_bias' must be int32 with": constant_changed("stem_bias_zero_point", lambda zero: zero + 3),
    r"node 'stem' \(Conv\): its bias needs the scale": constant_changed("stem_bias_scale", lambda scale: scale * 3),
    "alpha and beta must be 1": attribute_added("logits", alpha=2.0),
    r"node 'pooled' \(MaxPool\): needs its pads": attribute_added("pooled", ceil_mode=1),
    r"node 'stem' \(Conv\): needs its pads": attribute_added("stem", auto_pad="SAME_UPPER"),
    "a scalar uint8 zero point": constant_changed("joined_zero_point", lambda zero: np.full(3, zero)),
    r"node 'stem' \(Conv\): its bias needs": constant_changed("stem_bias_scale", lambda scale: np.resize(scale, 16)),
}


@pytest.mark.parametrize(("reason", "damage"), BROKEN.items(), ids=BROKEN)
def test_a_form_that_is_not_read_is_named(
    residual_network: onnx.ModelProto, reason: str, damage: Callable[[onnx.ModelProto], None]
):
    model = onnx.ModelProto()
    model.CopyFrom(residual_network)
    damage(model)
    with pytest.raises(GraphUnsupported, match=reason):
        read_quantized_graph(model)


def test_a_bias_may_have_a_scale_for_each_channel_beside_weights_with_one_for_all(residual_network: onnx.ModelProto):
    model = onnx.ModelProto()
    model.CopyFrom(residual_network)
    wanted = onnx.numpy_helper.to_array(constant_of(model, "stem_bias_scale"))[0]
    constant_changed("stem_weight_scale", lambda scales: scales[0])(model)
    constant_changed("stem_bias_scale", lambda scales: np.full_like(scales, wanted))(model)
    stem = next(layer for layer in read_quantized_graph(model).layers if layer.name == "stem")
    assert stem.weights is not None
    assert np.ptp(stem.weights.scales) == 0


def test_scales_may_stand_in_constant_nodes(residual_network: onnx.ModelProto):
    model = onnx.ModelProto()
    model.CopyFrom(residual_network)
    scale = constant_of(model, "stem_scale")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["stem_scale"], value=scale))
    model.graph.initializer.remove(scale)
    assert [layer.output for layer in read_quantized_graph(model).layers] == [
        layer.output for layer in read_quantized_graph(residual_network).layers
    ]


def float_layer(operator: str, *constants: str) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x", *constants], ["y"])
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 3)) for name in "xy"]
    weights = [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), name) for name in constants]
    return helper.make_model(helper.make_graph([node], "float", values[:1], values[1:], weights))


def float_behind_codes() -> onnx.ModelProto:
    model = float_layer("Gemm", "w")
    model.graph.node[0].input[0] = "cast"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["cast"], to=onnx.TensorProto.FLOAT))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return model


@pytest.mark.parametrize(
    "model",
    [float_layer("Gemm", "w"), float_layer("Softmax"), float_behind_codes()],
    ids=["weights", "unread operator", "codes at its input alone"],
)
def test_a_float_network_is_refused_with_what_to_do(model: onnx.ModelProto):
    with pytest.raises(GraphUnsupported, match="computes in float: quantize it with `edgedet-compress build`"):
        read_quantized_graph(model)
