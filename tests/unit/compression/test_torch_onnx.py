"""Export: ONNX Runtime answers what torch answers, or the export says where not."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from edgedet_compression.errors import VerificationFailed
from edgedet_compression.export.torch_onnx import export_onnx, float_model
from edgedet_compression.networks.yolov3 import YOLOv3Tiny
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.quantize import YoloShape, quantize
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.letterbox import to_input
from edgedet_runtime.manifest import InputSpec
from edgedet_runtime.photo import decode_photo
from torch import nn

from tests.unit.compression.prunable_networks import IMAGE, small_vgg, small_yolo

pytestmark = pytest.mark.needs_torch


def images(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(0, 1, (1, *IMAGE)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(("make", "outputs"), [(small_vgg, ["logits"]), (small_yolo, ["head_4", "head_2"])])
def test_a_network_answers_in_onnx_as_in_torch(make, outputs: list[str]):
    network = make()
    model = export_onnx(network, IMAGE, images())
    assert [info.name for info in model.graph.output] == outputs
    assert [info.name for info in model.graph.input] == ["image"]
    assert model.opset_import[0].version == 21
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        exact = network(torch.from_numpy(images()[0]))
    exact = [exact] if isinstance(exact, torch.Tensor) else exact
    for found, wanted in zip(session.run(None, {"image": images()[0]}), exact, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_a_network_exports_at_another_size_than_it_was_trained_at():
    model = export_onnx(small_yolo(), (3, 32, 48))
    shapes = [[dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in model.graph.output]
    assert shapes == [[1, 16, 8, 12], [1, 16, 16, 24]]


def test_poolings_that_keep_the_size_and_bias_free_layers_export():
    torch.manual_seed(0)
    export_onnx(YOLOv3Tiny(2, 32).eval(), (3, 32, 32))
    export_onnx(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 14 * 14, 2, bias=False)), IMAGE
    )


def test_normalization_with_hardly_any_variance_is_folded_exactly():
    network = small_yolo()
    norm = network.unit(0).norm
    norm.running_var.fill_(1e-7)
    norm.weight.data.fill_(1e-4)
    export_onnx(network, IMAGE)


def test_normalization_without_a_layer_before_it_is_refused_by_name():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    with pytest.raises(GraphUnsupported, match=r"batch_norm.* has no form"):
        export_onnx(network, IMAGE)


class PlusOne(nn.Module):
    """Adds a number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "gelu"),
        (nn.Conv2d(3, 4, 3, dilation=2), "dilation 2"),
        (nn.Conv2d(3, 4, 3, stride=(1, 2)), "one size for both directions"),
        (nn.Conv2d(3, 4, 3, padding="same"), "one size for both directions"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "rounds its size up"),
        (PlusOne(), "reads 1, which no layer computes"),
        (nn.Flatten(2), "only \\[1, features\\]"),
    ],
)
def test_what_has_no_form_here_is_named(network: nn.Module, message: str):
    with pytest.raises(GraphUnsupported, match=message):
        export_onnx(network, IMAGE)


class LateRelu(nn.Module):
    """Changes a map in place after a view of it was taken: the view changes too, which no graph tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4 * 14 * 14, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        features = maps.flatten(1)
        nn.functional.relu_(maps)
        return self.linear(features)


def test_an_answer_that_differs_from_torchs_is_found():
    torch.manual_seed(0)
    with pytest.raises(VerificationFailed, match="output logits: ONNX Runtime and torch differ by"):
        export_onnx(LateRelu(), IMAGE)


def test_the_exported_detector_becomes_int8_and_stays_near_torch(sample_photos):
    network = small_yolo()
    spec = InputSpec(name="image", height=16, width=16, channels=4)
    inputs = [to_input(decode_photo(photo.read_bytes()), spec)[0] for photo in sample_photos]
    source = float_model(network, ("ant", "bee", "cat"), IMAGE, "small", images())
    assert source.anchors == tuple(head.anchors for head in network.heads)
    quantized = quantize(source.model, inputs[:4], Normalization(), YoloShape((2, 2), 3))
    inner = {node.op_type for node in quantized.model.graph.node}
    assert "QuantizeLinear" in inner
    found = run_int8(quantized.model, inputs[5])
    floats = torch.from_numpy(inputs[5][..., :3].astype(np.float32) / 255).permute(0, 3, 1, 2)
    with torch.no_grad():
        exact = network(floats)
    for codes, head, wanted in zip(found, quantized.heads, exact, strict=True):
        groups = np.tile(np.repeat(head.multipliers, [2, 2, 1, 3]), 2)
        values = (codes[..., :16].astype(float) - head.quantization.zero_point) * head.quantization.scale * groups
        difference = np.abs(values.transpose(0, 3, 1, 2) - wanted.numpy())
        assert difference.mean() < 0.05 * np.ptp(wanted.numpy())


def run_int8(model: onnx.ModelProto, codes: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: codes})
