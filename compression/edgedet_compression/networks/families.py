"""Families of networks: built from specifications, written to files and read again."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.darknet_cfg import parse_cfg_text
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.lenet import LeNet
from edgedet_compression.networks.resnet import CifarResNet
from edgedet_compression.networks.specification import Specification, Specified
from edgedet_compression.networks.vgg import VGG
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.quantization.insertion import Scheme
from edgedet_compression.quantization.low_bit_network import LowBitNetwork
from edgedet_compression.tensor_file import read_tensors, write_tensors

_FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "darknet": lambda cfg: DarknetModule(parse_cfg_text(cfg)),
    "cifar-resnet": CifarResNet,
    "lenet": LeNet,
    "low-bit": lambda network, scheme, normalization: LowBitNetwork(
        build(Specification(**network)), Scheme(**scheme), Normalization(**normalization)
    ),
    "vgg": VGG,
}


def build(specification: Specification) -> nn.Module:
    """The network, freshly initialized.

    Raises:
        SourceUnreadable: no such family; the message lists those that are.
    """
    if specification.family not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        raise SourceUnreadable(f"network family {specification.family!r} is not known; there are: {known}")
    return _FAMILIES[specification.family](**specification.arguments)


def save_network(network: nn.Module, file: Path) -> None:
    """Write specification and weights."""
    assert isinstance(network, Specified)
    specification = network.specification()
    content = {
        "family": specification.family,
        "arguments": dict(specification.arguments),
        "state": {name: value.contiguous() for name, value in network.state_dict().items()},
    }
    write_tensors(content, file)


def load_network(file: Path) -> nn.Module:
    """The network of a file that `save_network` wrote, in evaluation mode.

    Raises:
        SourceMissing: no such file.
        SourceUnreadable: another kind of file, or a damaged one.
    """
    if not file.is_file():
        raise SourceMissing(f"no network at {file}")
    content = read_tensors(file)
    if not isinstance(content, dict) or not {"family", "arguments", "state"} <= content.keys():
        raise SourceUnreadable(f"{file} holds no network of EdgeDet")
    network = build(Specification(content["family"], content["arguments"]))
    network.load_state_dict(content["state"])
    return network.eval()


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def state_bytes(network: nn.Module) -> int:
    """Bytes of parameters and buffers, without buffers that follow from the specification and are not kept."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
