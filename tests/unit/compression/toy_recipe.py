"""A recipe of all that classifiers can do, on toy photos."""

import tomllib
from pathlib import Path

from edgedet_compression.recipe import Recipe
from edgedet_compression.runner import Workplace

from tests.unit.compression.toy_photos import write_shapes

RECIPE = """
name = "toy"
description = "Squares and stripes."
[data]
format = "folders"
folder = "photos"
size = 32
hold_out = 8
[[stages]]
name = "dense"
kind = "train"
network = { family = "resnet20" }
schedule = { epochs = 1, batch = 8, lr = 0.05, precision = "fp32" }
[[stages]]
name = "sparse"
kind = "prune-weights"
start = "dense"
sparsity = 0.5
rounds = 2
tolerance = 1.0
schedule = { epochs = 1, batch = 8, lr = 0.01, precision = "fp32" }
[[stages]]
name = "thin-structure"
kind = "prune-channels"
start = "dense"
parameters = 200_000
[[stages]]
name = "thin"
kind = "train"
start = "thin-structure"
all_data = true
schedule = { epochs = 1, batch = 8, lr = 0.01, precision = "fp32" }
distillation = { teacher = "dense", weight = 0.5, temperature = 2.0 }
[[stages]]
name = "package"
kind = "export"
start = "thin"
package = "toy-shapes"
description = "Squares or stripes."
license = "Apache-2.0"
[[stages]]
name = "test"
kind = "evaluate"
baseline = "dense"
networks = ["sparse", "thin"]
packages = ["package"]
"""


def recipe(text: str = RECIPE) -> Recipe:
    return Recipe.model_validate(tomllib.loads(text))


def toy_workplace(root: Path) -> Workplace:
    """Photos of two kinds that are easy to tell apart, and folders for runs and packages."""
    write_shapes(root / "data" / "photos")
    return Workplace(root / "data", root / "runs", root / "models")
