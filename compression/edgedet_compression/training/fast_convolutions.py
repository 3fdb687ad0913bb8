"""Which form a training computes a convolution in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgedet_compression.training import unfolded, winograd


class FastConvolutions(TorchFunctionMode):
    """Within it, torch.conv2d takes another form than the direct one wherever that is faster: Winograd's or unfolded.

    Nothing changes but for convolutions of 3 x 3 pixels, stride 1 and padding 1. Enter it within `autocast`, if at all.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        found = _convolve(*args) if func is torch.conv2d and not kwargs else None
        return func(*args, **(kwargs or {})) if found is None else found


def _convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """What torch.conv2d gives to these arguments; None where its own form is as fast."""
    plain = all(option in (1, (1, 1)) for option in (stride, padding, dilation)) and groups == 1
    if not plain or images.ndim != 4 or weight.shape[2:] != (3, 3):
        return None
    if winograd.pays(images, weight):
        outputs = winograd.convolve(images, weight)
    elif unfolded.pays(images, weight):
        outputs = unfolded.convolve(images.bfloat16(), weight.bfloat16())
    else:
        return None
    return outputs if bias is None else outputs + bias.to(outputs.dtype)[:, None, None]
