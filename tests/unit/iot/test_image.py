"""The image is built of the extra's libraries, without those of the project's base."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_image_installs_what_the_extra_names_and_the_command_needs():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["iot"]
    wanted = {re.split(r"[<>=\[ ]", requirement)[0] for requirement in extra} | {"typer", "rich"}
    installed = re.search(r"constraints\.txt (.*) \\\n", (ROOT / "iot_client" / "Dockerfile").read_text())
    assert installed is not None
    assert set(installed[1].split()) == wanted
    told = re.search(r"\$ pip install (.*) && pip install --no-deps", (ROOT / "iot_client" / "README.md").read_text())
    assert told is not None
    assert set(told[1].split()) == wanted
