"""Settings of the servers: flags before environment before TOML file before defaults; needs pydantic-settings."""

import os
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


class SettingRefused(ValueError):
    """A value that does not fit, or a file that is no TOML: the message names the setting or the file."""


class UnknownSetting(SettingRefused):
    """A name in the environment or the file that no setting has: misspelled, it must not be a default in silence."""


class LayeredSettings(BaseSettings):
    """Base of a server's settings; it gives `env_prefix`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def load(cls, config: Path | None, flags: Mapping[str, object]) -> Self:
        """Settings out of all sources; `flags` that are None were not given.

        Raises:
            SettingRefused, UnknownSetting: naming where it stands and what is possible.
        """
        _refuse_unknown_names(cls.model_fields, cls.model_config["env_prefix"], config)
        given = {name: value for name, value in flags.items() if value is not None}
        configured = type("Configured", (cls,), {"model_config": SettingsConfigDict(toml_file=config)})
        try:
            settings: Self = configured(**given)
        except ValidationError as error:
            raise SettingRefused(_first_fault(error)) from error
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (no .env files: one file format is enough)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the same)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, then the TOML file that `load` was given."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def _refuse_unknown_names(known: Collection[str], prefix: str, config: Path | None) -> None:
    """Look at all environment variables that begin with `prefix`, and at the TOML file."""
    for variable in os.environ:
        if variable.upper().startswith(prefix):
            _check_name(known, f"environment: {variable}", variable[len(prefix) :].lower())
    for name in _names_in(config) if config else ():
        _check_name(known, f"config: {config}", name)


def _names_in(config: Path) -> Collection[str]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingRefused(f"config: {config} is not TOML: {error}") from error


def _check_name(known: Collection[str], where: str, name: str) -> None:
    if name not in known:
        (nearest,) = get_close_matches(name, known, n=1, cutoff=0)
        raise UnknownSetting(
            f"{where}: no setting is called {name!r}; did you mean {nearest!r}? There are: {', '.join(sorted(known))}"
        )


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg'].removeprefix('Value error, ').removeprefix(f'{where}: ')}"
