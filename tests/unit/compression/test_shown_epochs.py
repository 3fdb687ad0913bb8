"""Trainings that go on with a network show other images than those before."""

from pathlib import Path

import pytest
from edgedet_compression.recipe import Recipe, load_recipe
from edgedet_compression.shown_epochs import epochs_before

pytestmark = pytest.mark.needs_torch

RECIPE = """
name = "chain"
description = "Every kind of stage that a training may start from."
[data]
format = "folders"
folder = "photos"
[[stages]]
name = "first"
kind = "train"
network = { family = "vgg16" }
schedule = { epochs = 7, batch = 4, lr = 0.1 }
[[stages]]
name = "twin"
kind = "train"
start = "first"
schedule = { epochs = 12, batch = 4, lr = 0.1 }
[[stages]]
name = "thinner"
kind = "prune-channels"
start = "first"
share = 0.5
[[stages]]
name = "thin"
kind = "train"
start = "thinner"
schedule = { epochs = 2, batch = 4, lr = 0.1 }
[[stages]]
name = "sparse"
kind = "prune-weights"
start = "thin"
sparsity = 0.9
rounds = 4
all_data = true
schedule = { epochs = 3, batch = 4, lr = 0.1 }
[[stages]]
name = "once"
kind = "prune-weights"
method = "one-shot"
start = "thin"
sparsity = 0.9
all_data = true
schedule = { epochs = 3, batch = 4, lr = 0.1 }
[[stages]]
name = "copied"
kind = "fresh-copy"
start = "twin"
[[stages]]
name = "bits"
kind = "quantize"
start = "twin"
[[stages]]
name = "of-others"
kind = "given"
family = "sparse"
weights = "/network.sparse"
sha256 = "SHA"
epochs = 31
[[stages]]
name = "averaged"
kind = "average"
networks = ["first", "twin"]
batch = 4
[[stages]]
name = "end"
kind = "train"
start = "START"
schedule = { epochs = 1, batch = 4, lr = 0.1 }
"""


def chain(folder: Path, start: str) -> Recipe:
    file = folder / "chain.toml"
    file.write_text(RECIPE.replace("START", start).replace("SHA", "0" * 64), encoding="utf-8")
    return load_recipe(str(file))


@pytest.mark.parametrize(
    ("start", "epochs"),
    [
        ("first", 7),
        ("twin", 19),
        ("thin", 9),
        ("sparse", 21),
        ("once", 12),
        ("averaged", 19),
        ("copied", 19),
        ("bits", 19),
        ("of-others", 31),
    ],
)
def test_a_training_counts_its_epochs_from_those_that_its_network_has_seen(
    tmp_path: Path, start: str, epochs: int
) -> None:
    recipe = chain(tmp_path, start)
    assert epochs_before(recipe.stage("end"), recipe) == epochs
    assert epochs_before(recipe.stage("first"), recipe) == 0


def test_those_of_another_recipe_count_too(tmp_path: Path) -> None:
    chain(tmp_path, "first")
    text = RECIPE.split("[[stages]]", maxsplit=1)[0].replace("chain", "other") + (
        f'[[stages]]\nname = "on"\nkind = "train"\nstart = "{tmp_path}/chain.toml/sparse"\n'
        "schedule = { epochs = 1, batch = 4, lr = 0.1 }\n"
    )
    (tmp_path / "other.toml").write_text(text, encoding="utf-8")
    other = load_recipe(str(tmp_path / "other.toml"))
    assert epochs_before(other.stage("on"), other) == 21
