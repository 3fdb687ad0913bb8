"""The number format that a training computes in."""

from contextlib import AbstractContextManager, nullcontext

import torch

from edgedet_compression.processor import has_bf16
from edgedet_compression.training.schedule import Precision


def dtype_of(precision: Precision) -> torch.dtype:
    """What `precision` means on this machine."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16() else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(dtype: torch.dtype) -> AbstractContextManager[object]:
    """Around a forward pass."""
    return torch.autocast("cpu", dtype) if dtype is torch.bfloat16 else nullcontext()
