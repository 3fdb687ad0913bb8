"""Names of settings: one that is misspelled in the environment or a file must not be a default in silence."""

import os
import tomllib
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path


class UnknownSetting(ValueError):
    """A name in the environment or the file that no setting has."""


def refuse_unknown_names(known: Collection[str], prefix: str, config: Path | None) -> None:
    """Look at all environment variables that begin with `prefix`, and at the TOML file.

    Raises:
        UnknownSetting: naming where it stands, what comes closest and what there is.
        TOMLDecodeError: the file is not TOML.
    """
    for variable in os.environ:
        if variable.upper().startswith(prefix):
            _check(known, f"environment: {variable}", variable[len(prefix) :].lower())
    for name in tomllib.loads(config.read_text(encoding="utf-8")) if config else ():
        _check(known, f"config: {config}", name)


def _check(known: Collection[str], where: str, name: str) -> None:
    if name not in known:
        (nearest,) = get_close_matches(name, known, n=1, cutoff=0)
        raise UnknownSetting(
            f"{where}: no setting is called {name!r}; did you mean {nearest!r}? There are: {', '.join(sorted(known))}"
        )
