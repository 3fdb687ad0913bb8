"""YOLOv3 (Redmon & Farhadi 2018) and YOLOv3-tiny as torch modules, by descriptions in Darknet's own form.

Origin: yolov3.cfg and yolov3-tiny.cfg of github.com/pjreddie/darknet (public domain style license).
"""

from collections.abc import Sequence

import torch

from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.networks.darknet_cfg import parse_cfg_text
from edgedet_compression.networks.darknet_module import DarknetModule, darknet_numbers, load_darknet_weights
from edgedet_compression.networks.darknet_weights import WeightReader

Anchors = Sequence[tuple[float, float]]
ANCHORS: Anchors = (
    (10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326),
)  # fmt: skip
"""In pixels of a 416-pixel input, smallest first: three for each head, the last three for the 13 x 13 one."""
_DESIGNED_FOR = 416
TINY_ANCHORS: Anchors = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))

# Darknet-53: width and number of residual blocks of its five stages.
_STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
_TINY_WIDTHS = (16, 32, 64, 128, 256, 512)


class YOLOv3(DarknetModule):
    """Darknet-53 and three heads; maps of strides 32, 16 and 8, in this order.

    Without anchors of one's own, in input pixels, those of COCO are scaled to the size.
    """

    def __init__(self, num_classes: int = 80, size: int = 416, anchors: Anchors = ()) -> None:
        cfg = yolov3_cfg(num_classes, size, anchors or _scaled(ANCHORS, size))
        super().__init__(parse_cfg_text(cfg, "yolov3"))


class YOLOv3Tiny(DarknetModule):
    """Seven convolutions with pooling and two heads; maps of strides 32 and 16.

    Without anchors of one's own those of COCO are scaled to the size, and the finer head has the second to the fourth
    of them, as the published weights were trained; of one's own it has the first three.
    """

    def __init__(self, num_classes: int = 80, size: int = 416, anchors: Anchors = ()) -> None:
        fine = "0,1,2" if anchors else "1,2,3"
        cfg = yolov3_tiny_cfg(num_classes, size, anchors or _scaled(TINY_ANCHORS, size), fine)
        super().__init__(parse_cfg_text(cfg, "yolov3-tiny"))


def begin_with(network: YOLOv3 | YOLOv3Tiny, content: bytes) -> None:
    """Put the numbers of a .weights file of this family into the network.

    Heads stay fresh where they answer something else: for another number of classes, or at another size, as anchors
    follow it.

    Raises:
        SourceUnreadable: the file is of another family.
    """
    family = type(network)
    source = family(_classes_in(content, family))
    load_darknet_weights(source, content)
    differing = [own for own, given in zip(network.heads, source.heads, strict=True) if own != given]
    fresh = tuple(f"layers.{head.layer}." for head in differing)
    taken = {name: value for name, value in source.state_dict().items() if not name.startswith(fresh)}
    network.load_state_dict(network.state_dict() | taken)


def _classes_in(content: bytes, family: type[YOLOv3] | type[YOLOv3Tiny]) -> int:
    """Of the network of a .weights file, by its length: every class takes as many numbers as the one before."""
    with torch.device("meta"):
        one, two = (darknet_numbers(family(classes)) for classes in (1, 2))
    found = WeightReader(content).count
    classes, left = divmod(found - one, two - one)
    if left or classes < 0:
        raise SourceUnreadable(f"{found} numbers are not those of any number of classes")
    return classes + 1


def yolov3_cfg(num_classes: int, size: int, anchors: Anchors) -> str:
    """The description of YOLOv3."""
    parts = [_net(size), _conv(32, 3)]
    for width, blocks in _STAGES:
        parts.append(_conv(width, 3, stride=2))
        parts += [_conv(width // 2, 1) + _conv(width, 3) + _shortcut(-3)] * blocks
    filters = 3 * (5 + num_classes)
    # The last layers of the stages of strides 8 and 16.
    skips = {1: 61, 2: 36}
    for head, width in enumerate((512, 256, 128)):
        if head:
            parts += [_route(-4), _conv(width, 1), "[upsample]\nstride=2\n", _route(-1, skips[head])]
        parts += [_conv(width, 1), _conv(2 * width, 3)] * 3
        mask = ",".join(str(3 * (2 - head) + place) for place in range(3))
        parts += [_output(filters), _yolo(mask, anchors, num_classes)]
    return "\n".join(parts)


def yolov3_tiny_cfg(num_classes: int, size: int, anchors: Anchors, fine: str) -> str:
    """The description of YOLOv3-tiny; `fine` are the places of the finer head's anchors."""
    parts = [_net(size)]
    for width in _TINY_WIDTHS:
        parts += [_conv(width, 3), f"[maxpool]\nsize=2\nstride={2 if width < 512 else 1}\n"]
    filters = 3 * (5 + num_classes)
    parts += [_conv(1024, 3), _conv(256, 1), _conv(512, 3), _output(filters), _yolo("3,4,5", anchors, num_classes)]
    parts += [_route(-4), _conv(128, 1), "[upsample]\nstride=2\n", _route(-1, 8)]
    parts += [_conv(256, 3), _output(filters), _yolo(fine, anchors, num_classes)]
    return "\n".join(parts)


def _scaled(anchors: Anchors, size: int) -> Anchors:
    scale = size / _DESIGNED_FOR
    return tuple((round(width * scale, 1), round(height * scale, 1)) for width, height in anchors)


def _net(size: int) -> str:
    return f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"


def _conv(filters: int, size: int, stride: int = 1) -> str:
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
        "activation=leaky\n\n"
    )


def _output(filters: int) -> str:
    return f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear\n"


def _shortcut(layer: int) -> str:
    return f"[shortcut]\nfrom={layer}\nactivation=linear\n"


def _route(*layers: int) -> str:
    return f"[route]\nlayers={','.join(map(str, layers))}\n"


def _yolo(mask: str, anchors: Anchors, classes: int) -> str:
    pairs = ", ".join(f"{width:g},{height:g}" for width, height in anchors)
    return f"[yolo]\nmask={mask}\nanchors={pairs}\nclasses={classes}\nnum={len(anchors)}\n"
