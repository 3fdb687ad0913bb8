"""The project's own recipes, shrunken: other data, ResNet-20 for VGG, little training; stages and methods stay."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from edgedet_compression.recipe import recipe_text
from edgedet_compression.runner import Workplace

# ResNet-20 has 0.27 M parameters and 41 M MACs.
_INSTEAD = {
    r'format = "cifar10"': 'format = "folders"\nsize = 32',
    r'folder = "cifar10"': 'folder = "photos"',
    r"hold_out = \d+_\d+": "hold_out = 4",
    r"vgg1[69]\" }": 'resnet20" }',
    # In place of given weights.
    r'kind = "given"\n(.+\n)+': (
        'kind = "train"\nnetwork = { family = "resnet20" }\nschedule = { epochs = 9, batch = 9, lr = 0.1 }\n'
    ),
    r"epochs = \d+, batch = \d+": 'epochs = 1, batch = 4, precision = "fp32"',
    r"\nbatch = \d+": "\nbatch = 4",
    r"tolerance = [\d.]+": "tolerance = 1.0",
    r"\nparameters = [\d_]+": "\nparameters = 150_000",
    r"\nmacs = [\d_]+": "\nmacs = 20_000_000",
    r"(vgg16-cifar10)/": r"\1.toml/",
}


@contextmanager
def shrunken_recipes(root: Path, names: Iterable[str]) -> Iterator[Workplace]:
    """Copies in `root`, for the time being the current folder, where references to NAME.toml find them, and photos."""
    for name in names:
        text = recipe_text(name)
        for found, instead in _INSTEAD.items():
            text = re.sub(found, instead, text)
        (root / f"{name}.toml").write_text(text, encoding="utf-8")
    _write_photos(root / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield Workplace(root, root / "runs", root / "models")


def _write_photos(folder: Path) -> None:
    """Two classes that are easy to tell apart: 20 photos to learn, 12 to test."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 6)):
        for number, label in enumerate(("dark", "bright")):
            (folder / split / label).mkdir(parents=True)
            for place in range(count):
                pixels = rng.integers(128 * number, 128 * number + 128, (32, 32, 3), np.uint8)
                cv2.imwrite(str(folder / split / label / f"{place}.png"), pixels)
