"""Whole networks: near their float answers, in the form that fuses, and with the same codes on both backends."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgedet_compression.export.package_writer import PackageText, decoding_tables, write_model_package
from edgedet_compression.float_baseline import FloatNetwork, decode_yolo
from edgedet_compression.networks.graph_builder import GraphBuilder
from edgedet_compression.quantization.detector_heads import group_of_channel
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import (
    Outline,
    QuantizedNetwork,
    YoloShape,
    float_form,
    outline,
    quantize,
)
from edgedet_runtime.answer import Finisher
from edgedet_runtime.detection import DetectThresholds
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.letterbox import Geometry
from edgedet_runtime.manifest import InputSpec, Provenance
from edgedet_runtime.package import Package
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.verification import verify_package

from tests.unit.compression.small_networks import SIDE, channels_last, classifier, detector, photos, weights

NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ANCHORS = (((8.0, 8.0), (16.0, 12.0)), ((3.0, 4.0), (6.0, 5.0)))
LABELS = ("cat", "dog", "cow")


@cache
def quantized_classifier(seed: int) -> QuantizedNetwork:
    return quantize(classifier(seed), photos(seed), NORMALIZATION)


@cache
def quantized_detector(seed: int) -> QuantizedNetwork:
    return quantize(detector(seed), photos(seed), Normalization(), YoloShape((2, 2), 3))


def packed(folder: Path, network: QuantizedNetwork, name: str, labels: tuple[str, ...], anchors=()) -> Package:
    text = PackageText("small", 1, "", labels, "none", Provenance(recipe="test", tool_version="0"))
    source = InputSpec(name=name, height=SIDE, width=SIDE, channels=4)
    return write_model_package(folder / "package", text, source, network, anchors)


def run(model: onnx.ModelProto, photo: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: photo})


@pytest.mark.parametrize("seed", range(4))
def test_a_classifier_stays_near_its_float_answer(seed: int):
    model = classifier(seed)
    network = quantize(model, photos(seed, 8), NORMALIZATION)
    baseline = FloatNetwork.load(model, NORMALIZATION, ())
    exact = np.stack([baseline.run(baseline.prepare(photo))[0] for photo in photos(seed + 100, 8)])
    found = np.stack([run(network.model, photo)[0] for photo in photos(seed + 100, 8)])
    assert np.abs(found - exact).max() < 0.15 * np.ptp(exact)


@pytest.mark.parametrize("seed", range(4))
def test_both_backends_give_the_same_codes_at_every_boundary(tmp_path: Path, seed: int, sample_photos: list[Path]):
    small = packed(tmp_path / "c", quantized_classifier(seed), "pixels", tuple("abcde"))
    found = packed(tmp_path / "d", quantized_detector(seed), "image", LABELS, ANCHORS)
    contents = [photo.read_bytes() for photo in sample_photos[:2]]
    assert verify_package(small, contents) >= 4
    assert verify_package(found, contents) >= 4


@pytest.mark.parametrize("seed", range(4))
def test_every_weight_is_within_64_and_every_activation_uint8(seed: int):
    for network in (quantized_classifier(seed), quantized_detector(seed)):
        graph = read_quantized_graph(network.model)
        for layer in graph.layers:
            if layer.weights is not None:
                assert np.abs(layer.weights.codes.astype(int)).max() <= 64
        assert network.model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_onnxruntime_runs_integers_from_end_to_end(tmp_path: Path):
    network = quantized_detector(0)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(network.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "QLinearConv" in operators
    assert not operators & {"Conv", "LeakyRelu", "DequantizeLinear", "QuantizeLinear", "Concat", "MaxPool"}


def test_head_maps_decode_to_the_float_networks_values():
    model = detector(1)
    calibration = photos(1, 8)
    network = quantize(model, calibration, Normalization(), YoloShape((2, 2), 3))
    baseline = FloatNetwork.load(model, Normalization(), ANCHORS)
    groups = group_of_channel(2, 3)
    for codes, head, exact in zip(
        run(network.model, calibration[0]), network.heads, baseline.run(baseline.prepare(calibration[0])), strict=True
    ):
        assert codes.shape[3] == 16  # padded to a multiple of 16
        centered = codes[0].astype(np.float64) - head.quantization.zero_point
        values = centered * head.quantization.scale * np.asarray(head.multipliers)[groups]
        assert np.abs(values - exact[0].transpose(1, 2, 0)).mean() < 0.1


def test_decoding_tables_hold_sigmoid_and_exp_of_every_code():
    network = quantized_detector(2)
    head = network.heads[0]
    tables = decoding_tables(head)
    values = head.quantization.scale * (np.arange(256) - head.quantization.zero_point)
    np.testing.assert_allclose(tables[0], 1 / (1 + np.exp(-values * head.multipliers[0])), rtol=1e-6)
    np.testing.assert_allclose(tables[1], np.exp(values * head.multipliers[1]), rtol=1e-6)


def test_a_packaged_detector_finds_the_boxes_of_its_float_network(tmp_path: Path):
    model = detector(3)
    package = packed(
        tmp_path, quantize(model, photos(3, 8), Normalization(), YoloShape((2, 2), 3)), "image", LABELS, ANCHORS
    )
    baseline = FloatNetwork.load(model, Normalization(), ANCHORS)
    thresholds = DetectThresholds(0.05, 0.45, 50)
    photo = photos(3, 8)[0]
    exact = decode_yolo(baseline.run(baseline.prepare(photo)), ANCHORS, SIDE, thresholds)
    outputs = run(onnx.load(package.path("model.onnx")), photo)
    named = dict(zip((spec.name for spec in package.manifest.outputs), outputs, strict=True))
    found = Finisher.load(package).finish(named, Geometry(SIDE, SIDE, SIDE, SIDE, 0, 0), thresholds)
    assert len(exact) > 5
    inside = np.clip(exact.boxes, 0, SIDE)
    nearest = np.abs(found.boxes[None] - inside[:, None]).max(axis=2)
    same = (found.labels[None] == exact.labels[:, None]) & (np.abs(found.scores[None] - exact.scores[:, None]) < 0.05)
    matched = np.where(same, nearest, np.inf).min(axis=1) < 2
    assert matched.mean() > 0.8


def test_a_head_map_that_is_read_again_is_refused():
    graph, rng = GraphBuilder("detector", (1, 3, SIDE, SIDE)), np.random.default_rng(0)
    graph.conv("coarse", "image", rng.normal(size=(16, 3, 3, 3)).astype("f"), np.zeros(16, "f"), padding=1, stride=2)
    graph.conv("fine", "coarse", rng.normal(size=(16, 16, 1, 1)).astype("f"), np.zeros(16, "f"))
    with pytest.raises(GraphUnsupported, match=r"output 'coarse' is read again by Conv 'fine'"):
        quantize(graph.model(["coarse", "fine"]), photos(0), Normalization(), YoloShape((2, 2), 3))


def test_an_output_that_is_no_raw_head_map_is_refused_with_its_shape():
    with pytest.raises(GraphUnsupported, match=r"'coarse' has shape \[1, 16, 4, 4\] .* raw head maps \[1, 18, rows"):
        quantize(detector(0), photos(0), Normalization(), YoloShape((2, 2), 4))


def test_a_detector_without_anchors_is_no_classifier():
    with pytest.raises(GraphUnsupported, match="a classifier needs one output"):
        quantize(detector(0), photos(0), Normalization())


def ending(classes: int, *operators: str) -> onnx.ModelProto:
    """A classifier whose logits go through some operators."""
    model = classifier(0, classes)
    output = model.graph.output[0].name
    for operator in operators:
        source, output = output, f"{operator}_{output}"
        model.graph.node.add(op_type=operator, name=output, input=[source], output=[output])
    model.graph.output[0].name = output
    return model


@pytest.mark.parametrize("behind", [(), ("Flatten",)])
def test_scores_by_sigmoid_are_refused(behind: tuple[str, ...]):
    model = ending(3, "Sigmoid", *behind)
    for read in (outline, lambda model: quantize(model, [], NORMALIZATION)):
        with pytest.raises(GraphUnsupported, match=r"is made by Sigmoid .* export the logits of exclusive classes"):
            read(model)


def test_one_class_is_refused():
    with pytest.raises(GraphUnsupported, match="has one class, whose softmax is 1 for every photo"):
        outline(classifier(0, classes=1))


@pytest.mark.parametrize("operators", [("Softmax",), ("Sigmoid", "Softmax")])
def test_a_softmax_at_the_end_stays_welcome(operators: tuple[str, ...]):
    assert outline(ending(3, *operators)).classes == 3


def test_a_fully_convolutional_classifier_gets_its_logits_flattened():
    rng = np.random.default_rng(0)
    graph = GraphBuilder("all_conv", (1, 3, SIDE, SIDE))
    graph.conv("body_conv", "image", weights(rng, 16, 3, 3, 3), np.zeros(16, np.float32), stride=2, padding=1)
    graph.apply("Relu", "body", ["body_conv"])
    graph.conv("maps", "body", weights(rng, 4, 16, 1, 1), np.zeros(4, np.float32))
    graph.apply("GlobalAveragePool", "scores", ["maps"])
    model = graph.model(["scores"])
    network = quantize(model, photos(0, 8), Normalization())
    baseline = FloatNetwork.load(model, Normalization(), ())
    exact = baseline.run(baseline.prepare(photos(0)[0]))[0].reshape(-1)
    found = run(network.model, photos(0)[0])[0].reshape(-1)
    assert np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_the_float_form_answers_as_the_network_whose_channels_are_last():
    model, shape = detector(0), YoloShape((2, 2), 3)
    image = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    form = float_form(channels_last(model), shape)
    wanted, found = run(model, image), run(form, image)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert quantize(form, photos(0), Normalization(), shape).model == quantized_detector(0).model


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(value: float):
    model = classifier(0)
    (weight,) = (part for part in model.graph.initializer if part.name == model.graph.node[0].input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    with pytest.raises(GraphUnsupported, match=rf"weight '{weight.name}' has values that are no numbers"):
        quantize(model, photos(0), NORMALIZATION)


@pytest.mark.parametrize("operator", ["Softmax", "Identity"])
def test_a_classifier_that_answers_twice_is_refused(operator: str):
    model = classifier(0)
    model.graph.node.append(onnx.helper.make_node(operator, ["logits"], ["scores"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 3]))
    with pytest.raises(GraphUnsupported, match=r"a classifier needs one output .* has 2: logits, scores"):
        quantize(model, photos(0), NORMALIZATION)


def test_the_float_form_of_a_classifier_answers_logits():
    model = classifier(0)
    scores = onnx.helper.make_node("Softmax", ["logits"], ["scores"], axis=1)
    model.graph.node.append(scores)
    model.graph.output[0].name = "scores"
    image = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (logits,), (wanted,) = run(float_form(model), image), run(model, image)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), wanted, rtol=1e-4)


def test_the_float_network_of_gray_photos_reads_by_the_averages_of_three_colors():
    graph = GraphBuilder("gray", (1, 1, SIDE, SIDE))
    graph.conv("map", "image", np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    network = FloatNetwork.load(graph.model(["map"]), NORMALIZATION, ())
    found = network.prepare(np.full((1, SIDE, SIDE, 1), 51, np.uint8))
    assert found[0, 0, 0, 0] == pytest.approx((0.2 - np.mean(NORMALIZATION.mean)) / np.mean(NORMALIZATION.std))


def test_a_network_of_gray_photos_reads_one_channel():
    rng = np.random.default_rng(0)
    graph = GraphBuilder("gray", (1, 1, SIDE, SIDE))
    graph.conv("body_conv", "image", weights(rng, 16, 1, 3, 3), np.zeros(16, np.float32), stride=2)
    graph.apply("Relu", "body", ["body_conv"])
    graph.apply("GlobalAveragePool", "mean", ["body"])
    graph.apply("Flatten", "features", ["mean"])
    graph.linear("logits", "features", weights(rng, 10, 16), np.zeros(10, np.float32))
    model = graph.model(["logits"])
    normalization = Normalization((0.1307,), (0.3081,))
    assert outline(model) == Outline("image", (1, 1, SIDE, SIDE), 10)
    network = quantize(model, photos(0, 8, channels=1), normalization)
    baseline = FloatNetwork.load(model, normalization, ())
    exact = baseline.run(baseline.prepare(photos(0, 8, channels=1)[0]))[0]
    assert np.abs(run(network.model, photos(0, 8, channels=1)[0])[0] - exact).max() < 0.1 * np.abs(exact).max()
