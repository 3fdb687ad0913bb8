"""The network that a training follows, as the run folders hand it on."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class Teacher:
    """In evaluation mode, its weights channels last, as the images come."""

    network: nn.Module
    answers: Path
    """File where a classifier's answers may be kept."""
