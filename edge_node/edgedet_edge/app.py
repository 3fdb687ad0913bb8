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
from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from edgedet_edge import schemas
from edgedet_edge.errors import ClientGone, EdgeFault
from edgedet_edge.measurements import WINDOW_S
from edgedet_edge.node import EdgeNode, Reply
from edgedet_edge.node import Query as PhotoQuery
from edgedet_edge.problems import MEDIA_TYPE, problem_response
from edgedet_edge.request_body import FIELD, read_photo

log = structlog.get_logger()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_PHOTO_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": schemas.Problem.model_json_schema()}}}
    for status, text in {
        400: "the photo cannot be decoded",
        403: "the client may not choose this boundary",
        404: "no such model",
        408: "the request arrived too slowly",
        413: "body or photo too large",
        415: "neither JPEG nor PNG",
        422: "bad query value",
        429: "overloaded; see Retry-After",
        503: "draining",
        504: "accepted, but not answered by the deadline",
    }.items()
}
_SCOPE_PROBLEMS: dict[int | str, dict[str, Any]] = {422: _PROBLEMS[422]}

Scope = Annotated[Literal["node", "cluster"], Query(description="this node, or all in the registry")]
Window = Annotated[int, Query(ge=1, le=WINDOW_S, description="seconds to look back")]
Model = Annotated[str | None, Query(description="name[:version]", max_length=200)]
Boundary = Annotated[int | None, Query(ge=0, description="forces k, where the node allows it")]
Deadline = Annotated[float | None, Header(alias="X-Deadline-Ms", gt=0, le=600_000)]


def create_app(node: EdgeNode) -> FastAPI:
    """The application around a node; the node starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await node.start()
        yield
        await node.stop()

    app = FastAPI(title="EdgeDet edge node", version=node.version, lifespan=lifespan)
    app.state.node = node
    _add_photo_routes(app, node)
    _add_metric_routes(app, node)
    for kind in (EdgeFault, RuntimeFault, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)
    return app


def _add_photo_routes(app: FastAPI, node: EdgeNode) -> None:
    @app.post("/v1/detect", response_model=schemas.DetectAnswer, responses=_PROBLEMS, openapi_extra=_PHOTO_BODY)
    async def detect(
        request: Request,
        model: Model = None,
        score_threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
        iou_threshold: Annotated[float | None, Query(ge=0, le=1)] = None,
        max_detections: Annotated[int | None, Query(ge=1, le=1000)] = None,
        boundary: Boundary = None,
        format: Annotated[Literal["json", "image"], Query(description="image: the photo with boxes")] = "json",  # noqa: A002  (the query's name)
        x_deadline_ms: Deadline = None,
    ) -> Response:
        """Detect objects in the posted photo."""
        query = PhotoQuery(
            task="detect",
            model=model,
            boundary=boundary,
            deadline_ms=x_deadline_ms,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            draw=format == "image",
        )
        return await _answer(request, node, query)

    @app.post("/v1/classify", response_model=schemas.ClassifyAnswer, responses=_PROBLEMS, openapi_extra=_PHOTO_BODY)
    async def classify(
        request: Request,
        model: Model = None,
        top_k: Annotated[int | None, Query(ge=1, le=1000)] = None,
        boundary: Boundary = None,
        x_deadline_ms: Deadline = None,
    ) -> Response:
        """Classify the posted photo."""
        query = PhotoQuery(task="classify", model=model, boundary=boundary, deadline_ms=x_deadline_ms, top_k=top_k)
        return await _answer(request, node, query)


def _add_metric_routes(app: FastAPI, node: EdgeNode) -> None:
    @app.get("/v1/models", response_model=schemas.Models)
    async def models() -> Response:
        """The packages that this node serves, with their boundaries."""
        return _json(node.describe_models())

    @app.get("/v1/models/{name}", response_model=schemas.ModelInfo, responses={404: _PROBLEMS[404]})
    async def model(name: Annotated[str, Path(description="name[:version]")]) -> Response:
        """One package."""
        return _json(node.describe_model(name))

    @app.get("/v1/metrics/latency", response_model=schemas.LatencyMetrics, responses=_SCOPE_PROBLEMS)
    async def latency(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """Latency by placement."""
        return _json(await node.latency(scope == "cluster", window_s))

    @app.get("/v1/metrics/offload", response_model=schemas.OffloadMetrics, responses=_SCOPE_PROBLEMS)
    async def offload(scope: Scope = "node", window_s: Window = WINDOW_S) -> Response:
        """How much left the edge, and what is known of the clouds."""
        return _json(await node.offload(scope == "cluster", window_s))

    @app.get("/v1/cluster", response_model=schemas.Cluster)
    async def cluster() -> Response:
        """The edges and the clouds that they see."""
        return _json(await node.cluster())

    @app.get("/metrics", response_class=Response)
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


async def _answer(request: Request, node: EdgeNode, query: PhotoQuery) -> Response:
    request_id = _request_id(request)
    request.state.request_id = request_id
    node.check_open()
    data = await read_photo(request, node.max_body_bytes)
    photo = await _unless_gone(request, node.infer(data, query, request_id))
    headers = {"X-Request-Id": request_id}
    if photo.drawn is not None:
        return Response(photo.drawn, headers=headers, media_type="image/jpeg")
    return _json(photo.body, headers=headers)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Reply]) -> Reply:
    """Await `work`, or cancel it when the client leaves: a server does not tell a handler by itself."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone("the client left before its answer")
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _on_error(request: Request, error: Exception) -> Response:
    request_id = getattr(request.state, "request_id", "")
    response = problem_response(error, request_id)
    if isinstance(error, ClientGone):
        log.info("client left", request_id=request_id)
    elif response.status_code >= 500 and not isinstance(error, EdgeFault):
        log.error("request failed", request_id=request_id, path=request.url.path, exc_info=error)
    request.app.state.node.measurements.refused(response.status_code)
    return response


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SERIALIZE_DATACLASS)
    return Response(body, status, headers, "application/json")
