"""Settings of an edge node: flags before environment (``EDGEDET_EDGE_…``) before TOML file before defaults."""

import secrets
import socket
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from redis.connection import parse_url


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{value!r} is not HOST:PORT")
    return value


Address = Annotated[str, AfterValidator(_address)]


class EdgeSettings(BaseSettings):
    """Everything that `edgedet-edge serve` can be told."""

    model_config = SettingsConfigDict(env_prefix="EDGEDET_EDGE_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port and logs it."""
    advertise: str = ""
    """URL that other machines reach this node by, as shown in the cluster; default: host and port."""
    node_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(3)}")
    """Name in the cluster."""
    threads: int = Field(default=1, ge=1, le=256)
    """Inference workers."""
    models: Path = Path("models")
    """Folder of packages."""
    default_model: str = ""
    """Package for requests without `model`; default: the first of the task by name."""
    backend: str = "onnxruntime"
    """What runs segments here."""
    cloud: tuple[Address, ...] = ()
    """Clouds as HOST:PORT."""
    redis: str = ""
    """URL of the registry; empty: none."""
    placement: str = "marginal-cost"
    """Placement policy."""
    forward_photos: bool = False
    """Whether photos may leave the site (boundary 0)."""
    allow_forced_boundary: bool = False
    """Whether a request may choose its boundary."""
    deadline_ms: float = Field(default=1000, gt=0, le=600_000)
    """Deadline of a request without `X-Deadline-Ms`."""
    max_body_mb: float = Field(default=20, gt=0)
    """Largest request body."""
    max_megapixels: float = Field(default=40, gt=0)
    """Largest photo."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Time a client has for its first byte and its headers."""
    body_timeout_s: float = Field(default=5, gt=0)
    """A body may not stay below the minimum rate for longer than this."""
    min_body_kb_s: float = Field(default=4, gt=0)
    """Minimum rate of a body."""
    max_connections: int = Field(default=1000, ge=1)
    """Open connections; more are answered 503."""
    drain_s: float = Field(default=10, gt=0)
    """Longest wait for accepted requests after SIGTERM."""

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

    def masked(self) -> dict[str, object]:
        """For the log: the password in the registry's URL is not shown."""
        values = self.model_dump(mode="json")
        password = parse_url(self.redis).get("password") if self.redis else None
        if password:
            values["redis"] = self.redis.replace(str(password), "***")
        return values


def load_settings(config: Path | None, flags: dict[str, object]) -> EdgeSettings:
    """Settings out of all sources; `flags` that are None were not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    configured = type("Configured", (EdgeSettings,), {"model_config": SettingsConfigDict(toml_file=config)})
    settings: EdgeSettings = configured(**given)
    return settings
