"""A recipe of two trainings, to be changed and read."""

from pathlib import Path

SMALL = """
name = "small"
description = "A network for a test."
[data]
format = "folders"
folder = "photos"
[[stages]]
name = "first"
kind = "train"
network = { family = "vgg16" }
schedule = { epochs = 1, batch = 2, lr = 0.1 }
[[stages]]
name = "second"
kind = "train"
start = "first"
schedule = { epochs = 1, batch = 2, lr = 0.1 }
"""


def written(folder: Path, text: str) -> str:
    """The path of a recipe's file."""
    file = folder / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)
