"""Small networks that have what pruning must cope with: residual sums, concatenation, heads, logits."""

import torch
from edgedet_compression.networks.darknet_cfg import parse_cfg_text
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.vgg import VGG
from torch import nn

IMAGE = (3, 16, 16)


def small_vgg(seed: int = 0) -> VGG:
    """16 x 16 pixels to 4 logits; no weight is zero, as after a training and unlike in a fresh VGG."""
    torch.manual_seed(seed)
    network = VGG([32, "M", 32, 48, "M", 48, "M", 32, "M"], 32, 4)
    for module in network.features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return _lively(network)


def small_yolo(seed: int = 0) -> DarknetModule:
    """Two residual blocks, a skip route with upsampling, two heads of 2 anchors and 3 classes."""
    torch.manual_seed(seed)
    return _lively(DarknetModule(parse_cfg_text(_CFG)))


def _lively(network):
    """BatchNorm as after a training: no two channels alike."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.2, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def _conv(filters: int, size: int, stride: int = 1) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
        "activation=leaky\n"
    )


def _head(mask: str) -> str:
    return (
        "[convolutional]\nfilters=16\nsize=1\nstride=1\npad=1\nactivation=linear\n"
        f"[yolo]\nmask={mask}\nanchors=2,2, 3,3, 5,5, 8,8\nclasses=3\nnum=4\n"
    )


_BLOCK = _conv(16, 1) + _conv(32, 3) + "[shortcut]\nfrom=-3\nactivation=linear\n"
_CFG = (
    "[net]\nwidth=16\nheight=16\nchannels=3\n"
    + _conv(16, 3)  # 0
    + _conv(32, 3, stride=2)  # 1
    + _BLOCK  # 2, 3, 4
    + _BLOCK  # 5, 6, 7
    + "[maxpool]\nsize=2\nstride=2\n"  # 8
    + _conv(48, 3)  # 9
    + _conv(32, 1)  # 10
    + _head("2,3")  # 11, 12
    + "[route]\nlayers=-3\n"  # 13: layer 10
    + _conv(16, 1)  # 14
    + "[upsample]\nstride=2\n"  # 15
    + "[route]\nlayers=-1,7\n"  # 16
    + _conv(32, 3)  # 17
    + _head("0,1")  # 18, 19
)
