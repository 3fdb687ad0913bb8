"""Settings of a cloud center: flags before environment (``EDGEDET_CLOUD_…``) before TOML file before defaults."""

from pathlib import Path
from typing import Literal

from edgedet_runtime.setting_names import refuse_unknown_names
from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

PREFIX = "EDGEDET_CLOUD_"
"""Of environment variables."""


class CloudSettings(BaseSettings):
    """Everything that `edgedet-cloud serve` can be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=9000, ge=0, le=65535)
    """0 takes a free port and logs it."""
    threads: int = Field(default=1, ge=1, le=256)
    """Inference workers."""
    models: Path = Path("models")
    """Folder of packages."""
    max_megapixels: float = Field(default=40, gt=0)
    """Largest photo at boundary 0."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """debug: a line for every answer."""
    drain_s: float = Field(default=10, gt=0)
    """Longest wait for accepted calls after SIGTERM."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (no .env files: one file format is enough)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the same)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, then the TOML file that `load_settings` was given."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None, flags: dict[str, object]) -> CloudSettings:
    """Settings out of all sources; `flags` that are None were not given.

    Raises:
        UnknownSetting: naming where it stands and what there is.
        ValidationError: a value that does not fit.
        TOMLDecodeError: the file is not TOML.
    """
    refuse_unknown_names(CloudSettings.model_fields, PREFIX, config)
    given = {name: value for name, value in flags.items() if value is not None}
    configured = type("Configured", (CloudSettings,), {"model_config": SettingsConfigDict(toml_file=config)})
    settings: CloudSettings = configured(**given)
    return settings
