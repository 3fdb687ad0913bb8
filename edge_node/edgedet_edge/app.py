"""The HTTP interface: which address asks the node for what."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from edgedet_runtime.errors import RuntimeFault
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from edgedet_edge import openapi, schemas
from edgedet_edge.direct_routes import DirectRoutes
from edgedet_edge.errors import BadQuery, EdgeFault
from edgedet_edge.measurements import WINDOW_S
from edgedet_edge.node import EdgeNode
from edgedet_edge.photo_query import ClassifyQuery, DetectQuery, parameters, unknown_name
from edgedet_edge.photo_routes import PhotoRoutes
from edgedet_edge.responses import error_response, json_response

Scope = Annotated[Literal["node", "cluster"], Query(description="this node, or all in the registry")]
Window = Annotated[int, Query(ge=1, le=WINDOW_S, description="seconds to look back; covered_s tells how many count")]


def create_server_app(node: EdgeNode) -> DirectRoutes:
    """What a server runs."""
    photos = PhotoRoutes(node)
    handlers = {"/v1/detect": photos.detect, "/v1/classify": photos.classify}
    return DirectRoutes(create_app(node, photos), handlers, node.measurements)


def create_app(node: EdgeNode, photos: PhotoRoutes) -> FastAPI:
    """The application around a node; the node starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await node.start()
        yield
        await node.stop()

    async def on_error(request: Request, error: Exception) -> Response:
        return error_response(request, error, node.measurements)

    # Its pages bring their scripts along: a camera's site may have no internet, and nothing is told to anyone there.
    app = FastAPIOffline(
        title="EdgeDet edge node",
        summary="Photos in, objects or classes out; what is too much here runs on in a cloud.",
        version=node.version,
        lifespan=lifespan,
        swagger_ui_parameters={"validatorUrl": None},
    )
    _add_photo_routes(app, photos)
    app.include_router(_views(node))
    _add_health_routes(app, node)
    for kind in (EdgeFault, RuntimeFault, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, on_error)
    return app


def _add_photo_routes(app: FastAPI, photos: PhotoRoutes) -> None:
    app.post(
        "/v1/detect",
        response_model=schemas.DetectAnswer,
        responses=openapi.DETECT_RESPONSES,
        openapi_extra={**openapi.PHOTO_BODY, "parameters": parameters(DetectQuery)},
    )(photos.detect)
    app.post(
        "/v1/classify",
        response_model=schemas.ClassifyAnswer,
        responses=openapi.CLASSIFY_RESPONSES,
        openapi_extra={**openapi.PHOTO_BODY, "parameters": parameters(ClassifyQuery)},
    )(photos.classify)


def _refuse_unknown_names(request: Request) -> None:
    """A misspelled parameter must not be a default in silence."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise BadQuery(unknown_name("query", name, known))


def _views(node: EdgeNode) -> APIRouter:
    router = APIRouter(dependencies=[Depends(_refuse_unknown_names)])

    @router.get("/v1/models", response_model=schemas.Models, responses=openapi.MODELS_RESPONSES)
    async def models() -> Response:
        """The packages that this node serves, with their boundaries."""
        return json_response(node.catalog.describe())

    @router.get("/v1/models/{name}", response_model=schemas.ModelInfo, responses=openapi.MODEL_RESPONSES)
    async def model(name: Annotated[str, Path(description="name[:version]")]) -> Response:
        """One package."""
        return json_response(node.catalog.describe_one(name))

    @router.get("/v1/metrics/latency", response_model=schemas.LatencyMetrics, responses=openapi.LATENCY_RESPONSES)
    async def latency(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """Latency by placement."""
        return json_response(await node.reports.latency(scope == "cluster", window_s))

    @router.get("/v1/metrics/offload", response_model=schemas.OffloadMetrics, responses=openapi.OFFLOAD_RESPONSES)
    async def offload(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """How much left the edge, and what is known of the clouds."""
        return json_response(await node.reports.offload(scope == "cluster", window_s))

    @router.get(
        "/v1/metrics/accelerator", response_model=schemas.AcceleratorMetrics, responses=openapi.ACCELERATOR_RESPONSES
    )
    async def accelerator() -> Response:
        """What simulated hardware spent since the node started, by model."""
        return json_response(node.reports.accelerator())

    @router.get("/v1/cluster", response_model=schemas.Cluster, responses=openapi.CLUSTER_RESPONSES)
    async def cluster() -> Response:
        """The edges and the clouds that they see."""
        return json_response(await node.reports.cluster())

    @router.get("/metrics", response_class=Response, responses=openapi.PROMETHEUS_RESPONSES)
    async def prometheus() -> Response:
        """Prometheus text format."""
        return Response(node.measurements.exposition(), media_type="text/plain; version=0.0.4")

    return router


def _add_health_routes(app: FastAPI, node: EdgeNode) -> None:
    """These take whatever query a load balancer adds, and HEAD, which some ask with."""

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", response_model=schemas.Health)
    async def live() -> Response:
        """Whether the process answers."""
        return json_response({"status": "live"})

    @app.head("/health/ready", include_in_schema=False)
    @app.get("/health/ready", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    async def ready() -> Response:
        """Whether photos are taken."""
        return json_response({"status": "draining"}, 503) if node.draining else json_response({"status": "ready"})
