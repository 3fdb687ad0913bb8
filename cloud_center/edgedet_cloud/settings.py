"""Settings of a cloud center: flags before environment (``EDGEDET_CLOUD_…``) before TOML file before defaults."""

from pathlib import Path
from typing import Literal

from edgedet_runtime.layered_settings import LayeredSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class CloudSettings(LayeredSettings):
    """Everything that `edgedet-cloud serve` can be told."""

    model_config = SettingsConfigDict(env_prefix="EDGEDET_CLOUD_")

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
