"""Reading what `torch.save` wrote: networks, checkpoints, the weights between two rounds of pruning."""

from pathlib import Path
from typing import Any

import torch

from edgedet_compression.errors import SourceUnreadable


def read_tensors(file: Path) -> Any:
    """The content of a file, its tensors on the CPU.

    Raises:
        SourceUnreadable: it is damaged, as a power failure may leave it.
    """
    try:
        return torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, MemoryError):  # not the content's fault
        raise
    except Exception as error:  # bytes that are no pickle end in every kind of error
        raise SourceUnreadable(f"{file} is damaged: remove it, and run again") from error
