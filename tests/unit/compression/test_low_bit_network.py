"""Networks of 4 bits: where quantizers are put, and that torch, ONNX Runtime and numpy compute the same codes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from edgedet_compression.data.labeled_images import CIFAR10_NORMALIZATION, MNIST_NORMALIZATION
from edgedet_compression.errors import VerificationFailed
from edgedet_compression.export.low_bit_onnx import export_low_bit
from edgedet_compression.export.package_writer import PackageText, write_model_package
from edgedet_compression.networks.families import load_network, save_network
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.resnet import CifarResNet
from edgedet_compression.networks.vgg import VGG
from edgedet_compression.quantization.image_codes import ImageCodes
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.insertion import Scheme
from edgedet_compression.quantization.low_bit_network import LowBitNetwork, low_bit
from edgedet_compression.quantization.operations import trace_operations
from edgedet_compression.quantization.quantizer import Grid
from edgedet_compression.training.classification import normalized
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.manifest import InputSpec, Provenance
from edgedet_runtime.quantized_graph import read_quantized_graph
from edgedet_runtime.verification import verify_package
from torch import nn
from torch.nn import functional

pytestmark = [pytest.mark.needs_torch, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_vgg() -> VGG:
    return VGG([8, "M", 12, "M", 16, "M", 16, "M", 16, "M"], 16, 10)


def averaging_vgg() -> VGG:
    return VGG([8, "M", 12, "A"], 16, 10)


def small_resnet() -> CifarResNet:
    return CifarResNet([[16, 8], [32, 24], [64, 12]], 10)


COLOR, GRAY = (3, 32, 32), (1, 28, 28)
NETWORKS = [(small_vgg, COLOR), (averaging_vgg, COLOR), (small_resnet, COLOR), (LeNet, GRAY)]
SCHEMES = [Scheme(), Scheme(scales="layer"), Scheme(weights="tqt"), Scheme(activations="pact", scales="layer")]


def settled(make, seed: int = 0) -> nn.Module:
    """A network in evaluation mode whose BatchNorms are not neutral: a γ is negative, one is 0, one hardly anything."""
    torch.manual_seed(seed)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var, module.bias, module.running_mean):
                nn.init.uniform_(tensor, 0.5, 1.5)
            module.weight.data[:3] = torch.tensor([-1.0, 0.0, 1e-9])
    return network.eval()


def normalization(shape: tuple[int, int, int]) -> Normalization:
    return CIFAR10_NORMALIZATION if shape[0] == 3 else MNIST_NORMALIZATION


def pixels(shape: tuple[int, int, int], count: int = 4, seed: int = 0) -> torch.Tensor:
    """Smooth photos, uint8 [n, C, H, W]."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.uniform(0, 255, (count, shape[0], 5, 5)).astype(np.float32))
    return nn.functional.interpolate(small, shape[1:], mode="bilinear").round().byte()


def images(shape: tuple[int, int, int], count: int = 4, seed: int = 0) -> torch.Tensor:
    return normalized(pixels(shape, count, seed).float() / 255, normalization(shape))


def low(make, shape, scheme: Scheme = SCHEMES[0], seed: int = 0) -> LowBitNetwork:
    return low_bit(settled(make, seed), scheme, normalization(shape), images(shape, 8))


def as_input(codes: torch.Tensor) -> np.ndarray:
    """One photo as the package reads it."""
    photo = codes.permute(1, 2, 0)[None].numpy()
    return np.concatenate([photo, np.full_like(photo[..., :1], 255)], axis=3) if photo.shape[3] == 3 else photo


def test_every_pixel_is_taken_back_from_its_normalized_value():
    every = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    image = ImageCodes(CIFAR10_NORMALIZATION.mean, CIFAR10_NORMALIZATION.std)
    found = image(normalized(every / 255, CIFAR10_NORMALIZATION))
    assert torch.equal(found + image.zero_point, every)


def test_the_first_layer_takes_the_normalization_in():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, bias=False)
    image = ImageCodes(CIFAR10_NORMALIZATION.mean, CIFAR10_NORMALIZATION.std)
    weight, offset = image.take_in(layer.weight)
    found = nn.functional.conv2d(image(images(COLOR)) * image.scale, weight) + offset.view(-1, 1, 1)
    torch.testing.assert_close(found, layer(images(COLOR)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_torch_onnx_runtime_and_numpy_compute_the_same_codes(make, shape, scheme: Scheme, tmp_path: Path):
    network = low(make, shape, scheme)
    photos = [as_input(each) for each in pixels(shape, 3, seed=1)]
    # Compares every tensor between torch and ONNX Runtime, and raises where one differs.
    quantized = export_low_bit(network, shape, photos)
    graph = read_quantized_graph(quantized.model)
    assert all(np.abs(layer.weights.codes).max() <= 7 for layer in graph.layers if layer.weights)
    read = [layer.inputs[0] for layer in graph.layers if layer.weights]
    selections = sum(operation.kind == "choose" for operation in network.operations)
    assert sum(codes.most != 15 for codes in read) == 1 + selections, "the image alone, and shortcuts, have 8 bits"
    depth = 4 if shape[0] == 3 else 1
    source = InputSpec(name="image", height=shape[1], width=shape[2], channels=depth, resize="plain")
    text = PackageText("small", 1, "", tuple("abcdefghij"), "none", Provenance(recipe="test", tool_version="0"))
    package = write_model_package(tmp_path / "package", text, source, quantized)
    # At every boundary, between ONNX Runtime and numpy.
    assert verify_package(package, []) >= 2
    assert (package.manifest.weight_bits, package.manifest.activation_bits) == (4, 4)


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_evaluation_answers_with_the_packages_logits_even_under_autocast(make, shape):
    network = low(make, shape)
    model = export_low_bit(network, shape).model
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    codes = pixels(shape, 5, seed=2)
    wanted = np.concatenate([session.run(None, {"image": as_input(each)})[0] for each in codes])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network(images(shape, 5, seed=2))
    assert np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_training_mode_computes_nearly_what_evaluation_does(make, shape):
    network = low(make, shape)
    with torch.no_grad():
        exact = network(images(shape))
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
        learned = network(images(shape))
    assert (learned - exact).abs().mean() < 0.1 * exact.std()


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_all_parameters_learn(make, shape):
    network = low(make, shape).train()
    nn.functional.cross_entropy(network(images(shape, 8)), torch.arange(8)).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    steps = [p.grad for name, p in network.named_parameters() if name.endswith("step")]
    assert sum(bool(grad.any()) for grad in steps) > len(steps) * 0.8


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_file_gives_the_same_network_back_without_the_float_one(scheme: Scheme, tmp_path: Path):
    network = low(small_resnet, COLOR, scheme)
    save_network(network, tmp_path / "net.pt")
    again = load_network(tmp_path / "net.pt")
    assert isinstance(again, LowBitNetwork)
    assert again.specification() == network.specification()
    assert torch.equal(again(images(COLOR)), network(images(COLOR)))


def test_a_resnets_layers_read_16_codes_and_its_sums_have_256():
    network = low(small_resnet, COLOR)
    grids = {operation.name: network.grid(operation.name) for operation in network.operations[:-1]}
    for operation in network.operations:
        if operation.kind == "layer" and operation.sources != ("image",):
            assert network.grid(operation.sources[0]) == Grid(0, 15)
        if operation.kind == "add":
            assert grids[operation.name] == Grid(0, 255)
            assert {grids[source] for source in operation.sources} <= {Grid(0, 255), Grid(-128, 127)}
        if operation.kind == "choose":
            assert torch.equal(network.scale(operation.name), network.scale(operation.sources[0]))
    assert sum(operation.kind == "narrow" for operation in network.operations) == 6
    assert set(network.weights) == {each.name for each in network.operations if each.kind == "layer"}


def test_scales_are_per_channel_or_per_layer():
    for scales, count in (("channel", 16), ("layer", 1)):
        assert len(low(small_resnet, COLOR, Scheme(scales=scales)).weights["conv1"].scale) == count


def test_the_float_network_is_left_as_it_was():
    network = settled(small_vgg)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    low_bit(network, Scheme(), CIFAR10_NORMALIZATION, images(COLOR)).train()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training


def test_the_exported_graph_is_stored_in_4_bits_and_runs_in_integers(tmp_path: Path):
    model = export_low_bit(low(small_resnet, COLOR), COLOR).model
    stored = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT4]
    assert len(stored) == 16  # 13 convolutions, 2 selections, 1 linear layer
    assert sum(len(tensor.raw_data) for tensor in stored) == sum(-(-int(np.prod(t.dims)) // 2) for t in stored)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert {"QLinearConv", "QLinearAdd", "QGemm", "Min"} <= operators
    assert not operators & {"Conv", "Gemm", "Add", "DequantizeLinear", "QuantizeLinear", "Cast", "LeakyRelu"}


class Slipping(LowBitNetwork):
    """Tells other codes of one tensor than it computes with."""

    def codes(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        found = super().codes(pixels)
        return found | {"features_3": found["features_3"] ^ 1}


def test_codes_that_differ_from_torchs_are_found():
    network = Slipping(settled(small_vgg), Scheme(), CIFAR10_NORMALIZATION)
    network.start(images(COLOR))
    with pytest.raises(VerificationFailed, match=r"tensor features_3: ONNX Runtime and torch differ in \d+ of"):
        export_low_bit(network, COLOR)


class Late(nn.Module):
    """A BatchNorm behind the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.conv(values)))


class Written(nn.Module):
    """A network whose last steps are written down as a function: `end` of the map and the linear layer."""

    def __init__(self, end: Callable[[torch.Tensor, nn.Module], torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.linear, self.end = nn.Conv2d(3, 4, 3), nn.Linear(4, 10), end

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.end(functional.adaptive_avg_pool2d(torch.relu(self.conv(values)), 1), self.linear)


def test_methods_of_tensors_are_read_as_functions_are():
    written = [Written(lambda x, linear: linear(x.flatten(1))), Written(lambda x, linear: linear(torch.flatten(x, 1)))]
    method, function = (trace_operations(network) for network in written)
    assert method == function
    assert [operation.kind for operation in method] == ["layer", "average", "flatten", "layer"]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda x, linear: linear(x.flatten(1)).neg(), "neg has no low-bit form"),
        (lambda x, linear: linear(x.mean((2, 3))), "mean has no low-bit form"),
        (lambda x, linear: linear(torch.flatten(torch.add(x, x, alpha=2), 1)), "can be added, as they are"),
        (
            lambda x, linear: linear(torch.flatten(torch.max_pool2d(x, 3, 2, 1), 1)),
            r"take torch\.nn\.functional\.max_pool",
        ),
        (lambda x, linear: linear(torch.flatten(x)), r"flatten must keep the batch and nothing else: flatten\(x, 1\)"),
    ],
)
def test_what_a_low_bit_network_would_leave_out_is_refused(
    end: Callable[[torch.Tensor, nn.Module], torch.Tensor], message: str
):
    with pytest.raises(GraphUnsupported, match=message):
        trace_operations(Written(end))


def test_a_first_layer_that_cannot_take_the_normalization_in_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 10, 1))
    with pytest.raises(GraphUnsupported, match="0: the first layer needs a bias or a BatchNorm"):
        low_bit(network.eval(), Scheme(), CIFAR10_NORMALIZATION, images(COLOR))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "GELU has no low-bit form; replace it by one of Conv2d, Linear"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), "reads _0, with values below 0: put a ReLU"),
        (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)), r"read by one layer alone; it is read by _0 \(max pool\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, ceil_mode=True)), "rounds its size up"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "the logits must be what a layer makes"),
        (Late(), "BatchNorm must stand right behind"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), "a second BatchNorm"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "padding must be zeros"),
    ],
)
def test_what_has_no_low_bit_form_is_named(network: nn.Module, message: str):
    with pytest.raises(GraphUnsupported, match=message):
        LowBitNetwork(network, Scheme(), CIFAR10_NORMALIZATION)
