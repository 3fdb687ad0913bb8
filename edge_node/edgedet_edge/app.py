"""The HTTP interface: routes, query values, and nothing else; the node does the work."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import orjson
import structlog
from edgedet_runtime.errors import RuntimeFault
from fastapi import FastAPI, Path, Request, Response
from fastapi import Query as QueryValue
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from edgedet_edge import openapi, schemas
from edgedet_edge.errors import ClientGone, EdgeFault
from edgedet_edge.measurements import WINDOW_S
from edgedet_edge.node import EdgeNode, Query, Reply
from edgedet_edge.photo_query import ClassifyQuery, DetectQuery, parameters, read_deadline_ms, read_query
from edgedet_edge.problems import problem_response
from edgedet_edge.request_body import Inbox

log = structlog.get_logger()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Counted, never sent: nobody is there to read it. The number is nginx's.
_CLIENT_GONE = 499

Scope = Annotated[Literal["node", "cluster"], QueryValue(description="this node, or all in the registry")]
Window = Annotated[int, QueryValue(ge=1, le=WINDOW_S, description="seconds to look back")]


def create_app(node: EdgeNode) -> FastAPI:
    """The application around a node; the node starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await node.start()
        yield
        await node.stop()

    app = FastAPI(
        title="EdgeDet edge node",
        summary="Photos in, objects or classes out; what is too much here runs on in a cloud.",
        version=node.version,
        lifespan=lifespan,
    )
    app.state.node = node
    _add_photo_routes(app, node)
    _add_metric_routes(app, node)
    for kind in (EdgeFault, RuntimeFault, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    return app


def _add_photo_routes(app: FastAPI, node: EdgeNode) -> None:
    inbox = Inbox(node.max_body_bytes, node.max_held_bytes)

    @app.post(
        "/v1/detect",
        response_model=schemas.DetectAnswer,
        responses=openapi.DETECT_RESPONSES,
        openapi_extra={**openapi.PHOTO_BODY, "parameters": parameters(DetectQuery)},
    )
    async def detect(request: Request) -> Response:
        """Detect objects in the posted photo."""
        asked = read_query(request, DetectQuery)
        query = Query(
            task="detect",
            model=asked.model,
            boundary=asked.boundary,
            deadline_ms=read_deadline_ms(request),
            score_threshold=asked.score_threshold,
            iou_threshold=asked.iou_threshold,
            max_detections=asked.max_detections,
            draw=asked.format == "image",
        )
        return await _answer(request, node, inbox, query)

    @app.post(
        "/v1/classify",
        response_model=schemas.ClassifyAnswer,
        responses=openapi.CLASSIFY_RESPONSES,
        openapi_extra={**openapi.PHOTO_BODY, "parameters": parameters(ClassifyQuery)},
    )
    async def classify(request: Request) -> Response:
        """Classify the posted photo."""
        asked = read_query(request, ClassifyQuery)
        query = Query(
            task="classify",
            model=asked.model,
            boundary=asked.boundary,
            deadline_ms=read_deadline_ms(request),
            top_k=asked.top_k,
        )
        return await _answer(request, node, inbox, query)


def _add_metric_routes(app: FastAPI, node: EdgeNode) -> None:
    @app.get("/v1/models", response_model=schemas.Models, responses=openapi.MODELS_RESPONSES)
    async def models() -> Response:
        """The packages that this node serves, with their boundaries."""
        return _json(node.catalog.describe())

    @app.get("/v1/models/{name}", response_model=schemas.ModelInfo, responses=openapi.MODEL_RESPONSES)
    async def model(name: Annotated[str, Path(description="name[:version]")]) -> Response:
        """One package."""
        return _json(node.catalog.describe_one(name))

    @app.get("/v1/metrics/latency", response_model=schemas.LatencyMetrics, responses=openapi.LATENCY_RESPONSES)
    async def latency(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """Latency by placement."""
        return _json(await node.latency(scope == "cluster", window_s))

    @app.get("/v1/metrics/offload", response_model=schemas.OffloadMetrics, responses=openapi.OFFLOAD_RESPONSES)
    async def offload(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """How much left the edge, and what is known of the clouds."""
        return _json(await node.offload(scope == "cluster", window_s))

    @app.get("/v1/cluster", response_model=schemas.Cluster, responses=openapi.CLUSTER_RESPONSES)
    async def cluster() -> Response:
        """The edges and the clouds that they see."""
        return _json(await node.cluster())

    @app.get("/metrics", response_class=Response, responses=openapi.PROMETHEUS_RESPONSES)
    async def prometheus() -> Response:
        """Prometheus text format."""
        return Response(node.measurements.exposition(), media_type="text/plain; version=0.0.4")

    @app.get("/health/live", response_model=schemas.Health)
    async def live() -> Response:
        """Whether the process answers."""
        return _json({"status": "live"})

    @app.get("/health/ready", response_model=schemas.Health, responses={503: {"model": schemas.Health}})
    async def ready() -> Response:
        """Whether photos are taken."""
        return _json({"status": "draining"}, 503) if node.draining else _json({"status": "ready"})


async def _answer(request: Request, node: EdgeNode, inbox: Inbox, query: Query) -> Response:
    node.check_open()
    request_id = _request_id(request)
    async with inbox.photo(request) as data:
        photo = await _unless_gone(request, node.infer(data, query, request_id))
    headers = {"X-Request-Id": request_id}
    if node.draining:
        headers["Connection"] = "close"
    if photo.drawn is not None:
        return Response(photo.drawn, headers=headers, media_type="image/jpeg")
    return _json(photo.body, headers=headers)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Reply]) -> Reply:
    """Await `work`, or cancel it when the client leaves: a server does not tell a handler by itself."""
    handler = asyncio.current_task()
    assert handler is not None
    gone = asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(lambda watch: watch.cancelled() or handler.cancel())
    try:
        return await work
    except asyncio.CancelledError:
        if not gone.done():
            raise  # it is the server that ends the handler
        handler.uncancel()
        raise ClientGone("the client left before its answer") from None
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _on_error(request: Request, error: Exception) -> Response:
    request_id = _request_id(request)
    response = problem_response(error, request_id)
    status: int = response.status_code
    if isinstance(error, ClientGone):
        log.info("client left", request_id=request_id)
        status = _CLIENT_GONE
    elif status >= 500 and not isinstance(error, EdgeFault):
        log.error("request failed", request_id=request_id, path=request.url.path, exc_info=error)
    request.app.state.node.measurements.refused(status)
    return response


def _request_id(request: Request) -> str:
    """The client's own where it is sound, else a new one; the same for all of a request's life."""
    if not hasattr(request.state, "request_id"):
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    request_id: str = request.state.request_id
    return request_id


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SERIALIZE_DATACLASS)
    return Response(body, status, headers, "application/json")
