"""A training of a second or two, in this process or as a program: `python -m …toy_training FOLDER` prints its steps."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from edgedet_compression.data.augmentation_settings import ImageAugmentation
from edgedet_compression.data.labeled_images import ImageSet
from edgedet_compression.errors import TrainingInterrupted
from edgedet_compression.quantization.input_stem import Normalization
from edgedet_compression.training.classification import ClassificationTask
from edgedet_compression.training.loop import train
from edgedet_compression.training.schedule import Schedule
from torch import nn

EPOCHS, STEPS = 3, 5
SCHEDULE = Schedule(epochs=EPOCHS, batch=8, lr=0.1, precision="fp32", ema=0.8, clip_norm=1.0, seed=7)
INTERRUPTED = 7


def toy_network() -> nn.Module:
    """With a BatchNorm, whose buffers change, and a dropout, which is random."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def toy_task() -> ClassificationTask:
    """40 images of 8 x 8 pixels: an epoch of `STEPS` steps."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (40, 8, 8, 3), np.uint8))
    toys = ImageSet("toys", images, torch.from_numpy(rng.integers(0, 4, 40)), tuple("abcd"))
    return ClassificationTask(toys, toys, Normalization(), 8, 7, ImageAugmentation(translate=2))


def main(folder: Path) -> None:
    """Train slowly enough to be interrupted; the exit code tells whether that happened."""

    def progress(_: str, __: int):
        def advance(reached: str = "", /) -> None:
            print(reached or "step", flush=True)
            time.sleep(0.1)

        return advance

    torch.set_num_threads(1)
    try:
        train(toy_network(), toy_task(), SCHEDULE, folder, progress=progress)
    except TrainingInterrupted as error:
        print(error, flush=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
