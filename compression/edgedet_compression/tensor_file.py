"""Files of tensors: networks, checkpoints, the weights between two rounds of pruning."""

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


def write_tensors(content: Any, file: Path) -> None:
    """Write a file so that a process that dies leaves the old one or the new one.

    Raises:
        OSError: the disk is full, or the folder cannot be written; no half a file is left.
    """
    part = file.with_suffix(".part")
    try:
        torch.save(content, part)
        part.replace(file)
    except RuntimeError as error:  # torch's way of telling a full disk
        raise OSError(f"{file} could not be written, is the disk full? ({str(error).splitlines()[0]})") from error
    finally:
        part.unlink(missing_ok=True)
