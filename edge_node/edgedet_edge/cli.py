"""``edgedet-edge``: starts a node."""

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvicorn
import uvloop
from edgedet_runtime.errors import RuntimeFault
from edgedet_runtime.listening import listen
from edgedet_runtime.malloc import keep_freed_memory
from edgedet_runtime.server_log import configure_log

from edgedet_edge.app import create_server_app
from edgedet_edge.connection_limits import ConnectionLimits, limited_protocol
from edgedet_edge.draining_server import DrainingServer
from edgedet_edge.node import EdgeNode
from edgedet_edge.settings import EdgeSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="An EdgeDet edge node.")
log = structlog.get_logger()


@app.callback()
def _root() -> None:
    """An EdgeDet edge node: photos in over HTTP, answers out."""


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one and logs it.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    threads: Annotated[int | None, typer.Option(help="Inference workers (default 1).")] = None,
    cloud: Annotated[list[str] | None, typer.Option(help="A cloud as HOST:PORT; may be repeated.")] = None,
    redis: Annotated[str | None, typer.Option(help="Registry, e.g. redis://localhost:6379/0.")] = None,
    placement: Annotated[
        str | None,
        typer.Option(help="marginal-cost (default), edge-only, fixed-boundary=K, neurosurgeon or greedy."),
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of packages (default ./models).")] = None,
    default_model: Annotated[
        str | None, typer.Option(help="Package for requests that name none (default: the task's first by name).")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="What runs segments (default onnxruntime).")] = None,
    nvm_preset: Annotated[str | None, typer.Option(help="Preset of --backend nvm (default: nor-flash-40nm).")] = None,
    chip: Annotated[int | None, typer.Option(help="Seed of that chip (default: the sidecar's).")] = None,
    capacity: Annotated[
        str | None,
        typer.Option(
            help="Time that counts: host (default), or simulated (of --backend nvm, unless the host is slower)."
        ),
    ] = None,
    forward_photos: Annotated[
        bool | None, typer.Option("--forward-photos/--keep-photos", help="Whether photos may leave the site.")
    ] = None,
    allow_forced_boundary: Annotated[
        bool | None, typer.Option("--allow-forced-boundary", help="Let requests choose their boundary.")
    ] = None,
    deadline_ms: Annotated[float | None, typer.Option(help="Deadline without X-Deadline-Ms (default 1000).")] = None,
    max_body_mb: Annotated[float | None, typer.Option(help="Largest body (default 20).")] = None,
    max_megapixels: Annotated[float | None, typer.Option(help="Largest photo (default 40).")] = None,
    advertise: Annotated[str | None, typer.Option(help="URL that others reach this node by.")] = None,
    node_id: Annotated[str | None, typer.Option(help="Name in the cluster, another for each node.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info (default) or warning.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of these settings.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Serve photos.

    Flags win over the environment (EDGEDET_EDGE_…), that over --config, that over the defaults.

    Examples:

      edgedet-edge serve --port 8080

      edgedet-edge serve --port 8080 --cloud 10.0.0.5:9000 --redis redis://10.0.0.5:6379/0
    """
    flags = {name: value for name, value in locals().items() if name != "config"}
    try:
        settings = EdgeSettings.load(config, flags)
        listen(settings.host, settings.port).close()  # an address that is taken is told before packages load
        configure_log(settings.log_level)
        log.info("settings", **settings.masked())
        node = EdgeNode.load(settings)
        listener = listen(settings.host, settings.port)
    except (RuntimeFault, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    keep_freed_memory()
    # The loop is ours, not uvicorn's to choose: cloud calls and heartbeats run in it as well.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(node, settings, listener))


async def _serve(node: EdgeNode, settings: EdgeSettings, listener: socket.socket) -> None:
    limits = ConnectionLimits(
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        min_body_bytes_s=settings.min_body_kb_s * 1000,
        max_connections=settings.max_connections,
    )
    config = uvicorn.Config(
        create_server_app(node),
        http=limited_protocol(limits, node.measurements.refused),
        ws="none",
        access_log=False,
        log_config=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=False,
    )
    server = DrainingServer(config, node.drain)
    node.listening_on(settings.host, listener.getsockname()[1])
    await server.serve(sockets=[listener])
