"""Settings of an edge node: flags before environment (``EDGEDET_EDGE_…``) before TOML file before defaults."""

import secrets
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from edgedet_runtime.cloud_address import checked_address
from edgedet_runtime.layered_settings import LayeredSettings
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from edgedet_edge.placement import parse_policy


def _split(value: object) -> object:
    """The environment holds one string; commas part addresses."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _redis_url(value: str) -> str:
    if value:
        try:
            ConnectionPool.from_url(value).make_connection()
        except TypeError as error:  # what the URL says behind its "?" becomes arguments
            option = str(error).rpartition(" ")[2]
            raise ValueError(
                f"the URL has an option {option} that Redis connections do not know; leave it out"
            ) from error
        except RedisError as error:
            raise ValueError(str(error)) from error
    return value


def _policy(value: str) -> str:
    parse_policy(value)
    return value


Address = Annotated[str, AfterValidator(checked_address)]
Addresses = Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_split)]


class EdgeSettings(LayeredSettings):
    """Everything that `edgedet-edge serve` can be told."""

    model_config = SettingsConfigDict(env_prefix="EDGEDET_EDGE_")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port and logs it."""
    advertise: str = ""
    """URL that other machines reach this node by, as shown in the cluster; default: host and port, on all
    addresses the machine's name and port."""
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
    nvm_preset: str = ""
    """Simulated chip of the backend `nvm`: a preset's name or file; default: the backend's own choice."""
    chip: int | None = Field(default=None, ge=0)
    """Seed of that chip; default: the one that the package's sidecar names."""
    capacity: Literal["host", "simulated"] = "host"
    """Whose time the scheduler counts: this machine's, or that of the backend's simulated hardware, of one chip."""
    cloud: Addresses = ()
    """Clouds as HOST:PORT; in the environment parted by commas."""
    redis: Annotated[str, AfterValidator(_redis_url)] = ""
    """URL of the registry; empty: none."""
    placement: Annotated[str, AfterValidator(_policy)] = "marginal-cost"
    """Placement policy."""
    forward_photos: bool = False
    """Whether photos may leave the site (boundary 0)."""
    allow_forced_boundary: bool = False
    """Whether a request may choose its boundary."""
    deadline_ms: float = Field(default=1000, gt=0, le=600_000)
    """Deadline of a request without `X-Deadline-Ms`."""
    max_body_mb: float = Field(default=20, gt=0)
    """Largest request body."""
    max_held_mb: float = Field(default=500, gt=0, validate_default=True)
    """All photos in the node at once: more are answered 429."""
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
    log_level: Literal["debug", "info", "warning"] = "info"
    """debug: a line for every answer."""
    drain_s: float = Field(default=10, gt=0)
    """Longest wait for accepted requests after SIGTERM."""

    @field_validator("max_held_mb")
    @classmethod
    def _holds_one(cls, max_held_mb: float, info: ValidationInfo) -> float:
        max_body_mb = info.data.get("max_body_mb", 0)
        if max_held_mb < max_body_mb:
            raise ValueError(
                f"{max_held_mb:g} MB have no room for one photo of --max-body-mb {max_body_mb:g}, which would be told "
                "to try again for ever; set max_held_mb to at least that"
            )
        return max_held_mb

    @field_validator("nvm_preset", "chip")
    @classmethod
    def _of_nvm(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        backend = info.data.get("backend", "nvm")  # a backend that is refused itself is told first
        if backend != "nvm" and value not in ("", None):
            raise ValueError(
                f"--nvm-preset and --chip go with --backend nvm, and --backend is {backend}; give --backend nvm, or "
                "leave them out"
            )
        return value

    @field_validator("capacity")
    @classmethod
    def _one_chip(cls, capacity: str, info: ValidationInfo) -> str:
        threads = info.data.get("threads", 1)
        if capacity == "simulated" and threads > 1:
            raise ValueError(
                f"--capacity simulated is the time of one chip, which serves one photo at a time, and --threads is "
                f"{threads}; give --threads 1"
            )
        return capacity

    def backend_options(self) -> dict[str, object]:
        """What the backend is told; nothing that was not given, since backends refuse options that they do not have."""
        given = {"preset": self.nvm_preset or None, "chip": self.chip}
        return {name: value for name, value in given.items() if value is not None}

    def masked(self) -> dict[str, object]:
        """For the log: a password in the registry's URL is not shown."""
        return {**self.model_dump(mode="json"), "redis": _masked_url(self.redis)}


def _masked_url(url: str) -> str:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    netloc = f"{user}{colon}{'***' if colon else ''}{at}{host}"
    query = urlencode(
        [(name, "***" if name == "password" else value) for name, value in parse_qsl(parts.query)], safe="*"
    )
    return SplitResult(parts.scheme, netloc, parts.path, query, parts.fragment).geturl()
