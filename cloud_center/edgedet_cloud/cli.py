"""``edgedet-cloud``: starts a cloud center, or asks one how it is."""

import asyncio
import os
import signal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import structlog
import typer
from edgedet_runtime.cloud_address import checked_address
from edgedet_runtime.errors import PackageRefused
from edgedet_runtime.listening import AddressRefused, listen
from edgedet_runtime.malloc import keep_freed_memory
from edgedet_runtime.server_log import configure_log
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edgedet_cloud.settings import CloudSettings

# ruff: noqa: PLC0415
# What serves is loaded where it is used: a container asks for `health` every second while it starts.

if TYPE_CHECKING:
    from edgedet_cloud.dataplane import CloudCenter

app = typer.Typer(no_args_is_help=True, add_completion=False, help="An EdgeDet cloud center.")
log = structlog.get_logger()


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port (default 9000); 0 takes a free one and logs it.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    threads: Annotated[int | None, typer.Option(help="Inference workers (default 1).")] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of packages (default ./models).")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info (default) or warning.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of these settings.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Serve tails over gRPC (Open Inference Protocol v2).

    Flags win over the environment (EDGEDET_CLOUD_…), that over --config, that over the defaults.

    Examples:

      edgedet-cloud serve --port 9000 --threads 4

      edgedet-cloud serve --host 0.0.0.0 --models /srv/models
    """
    from edgedet_cloud.dataplane import CloudCenter
    from edgedet_cloud.served_model import load_models

    flags: dict[str, object] = {
        "port": port,
        "host": host,
        "threads": threads,
        "models": models,
        "log_level": log_level,
    }
    try:
        settings = CloudSettings.load(config, flags)
        listen(settings.host, settings.port).close()  # an address that is taken is told before packages load
        configure_log(settings.log_level)
        log.info("settings", **settings.model_dump(mode="json"))
        served = load_models(settings.models)
    except (PackageRefused, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    keep_freed_memory()
    center = CloudCenter(served, settings.threads, settings.max_megapixels)
    try:
        asyncio.run(_serve(center, settings))
    except AddressRefused as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def health(
    address: Annotated[str, typer.Option(help="HOST:PORT of a cloud.")] = "127.0.0.1:9000",
    timeout_s: Annotated[float, typer.Option(help="Longest wait.")] = 2.0,
) -> None:
    """Exit 0 when a cloud takes calls, 1 when not.

    Example: edgedet-cloud health --address 127.0.0.1:9000
    """
    try:
        checked_address(address)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--address") from error
    try:
        # A container's check asks its own process: not by a proxy that the environment names for other machines.
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            status = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s).status
    except grpc.RpcError as error:
        typer.echo(f"{address}: {error.code().name}", err=True)
        raise typer.Exit(1) from error
    typer.echo(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    raise typer.Exit(0 if status == health_pb2.HealthCheckResponse.SERVING else 1)


async def _serve(center: "CloudCenter", settings: CloudSettings) -> None:
    from edgedet_cloud.server import serve as serve_center

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.is_set():  # asked twice: at once
            os._exit(130)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    await serve_center(center, settings.host, settings.port, version("edgedet"), stop, settings.drain_s)
