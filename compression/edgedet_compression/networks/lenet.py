"""A network like LeNet-5 (LeCun et al. 1998) for MNIST: ReLU and maxima instead of sigmoids and averages.

Names of parameters are those of github.com/FYH620/lenet-mnist-openvino (MIT), whose weights load.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet_compression.errors import SourceMissing, SourceUnreadable
from edgedet_compression.networks.specification import Specification
from edgedet_compression.tensor_file import read_tensors

_PIXELS = 16
"""Of a map before the first fully connected layer: 28 - 4 = 24, 12, 12 - 4 = 8, 4 a side."""


class LeNet(nn.Module):
    """Images [n, 1, 28, 28] to logits [n, classes]; two 5 x 5 convolutions and two hidden layers."""

    def __init__(self, widths: Sequence[int] = (6, 16), hidden: Sequence[int] = (120, 84), classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, widths[0], 5)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5)
        self.fc1 = nn.Linear(widths[1] * _PIXELS, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.fc3 = nn.Linear(hidden[1], classes)
        for module in self.children():
            assert isinstance(module, nn.Conv2d | nn.Linear)
            assert module.bias is not None
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)

    def specification(self) -> Specification:
        """Family "lenet": widths as the layers are now."""
        return Specification(
            "lenet",
            {
                "widths": [self.conv1.out_channels, self.conv2.out_channels],
                "hidden": [self.fc1.out_features, self.fc2.out_features],
                "classes": self.fc3.out_features,
            },
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        maps = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        maps = functional.max_pool2d(functional.relu(self.conv2(maps)), 2)
        hidden = functional.relu(self.fc1(torch.flatten(maps, 1)))
        logits: Tensor = self.fc3(functional.relu(self.fc2(hidden)))
        return logits


def load_lenet(file: Path) -> LeNet:
    """The network of a state dict (`.pth`) in evaluation mode.

    Raises:
        SourceMissing: no such file.
        SourceUnreadable: the state dict is of another network.
    """
    if not file.is_file():
        raise SourceMissing(f"no weights at {file}")
    state = read_tensors(file)
    if not isinstance(state, Mapping):
        raise SourceUnreadable(f"{file} holds no weights of a LeNet: it is no state dict")
    network = LeNet()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise SourceUnreadable(f"{file} holds no weights of a LeNet: {error}") from error
    return network.eval()
