"""The routes that take photos: query and body out of the request, the node's answer into a response."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import Request, Response

from edgedet_edge.connection_limits import CONNECTION
from edgedet_edge.errors import ClientGone
from edgedet_edge.node import EdgeNode, Query, Reply
from edgedet_edge.photo_query import ClassifyQuery, DetectQuery, read_deadline_ms, read_query
from edgedet_edge.request_body import Inbox
from edgedet_edge.responses import json_response, request_id_of


class PhotoRoutes:
    """Handlers of `/v1/detect` and `/v1/classify`."""

    def __init__(self, node: EdgeNode) -> None:
        self._node = node
        self._inbox = Inbox(node.max_body_bytes, node.max_held_bytes)

    async def detect(self, request: Request) -> Response:
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
        return await self._answer(request, query)

    async def classify(self, request: Request) -> Response:
        """Classify the posted photo."""
        asked = read_query(request, ClassifyQuery)
        query = Query(
            task="classify",
            model=asked.model,
            boundary=asked.boundary,
            deadline_ms=read_deadline_ms(request),
            top_k=asked.top_k,
        )
        return await self._answer(request, query)

    async def _answer(self, request: Request, query: Query) -> Response:
        self._node.check_open()
        request_id = request_id_of(request)
        async with self._inbox.photo(request) as data:
            photo = await _unless_gone(request, self._node.infer(data, query, request_id))
        headers = {"X-Request-Id": request_id}
        if self._node.draining:
            headers["Connection"] = "close"
        if photo.drawn is not None:
            return Response(photo.drawn, headers=headers, media_type="image/jpeg")
        return json_response(photo.body, headers=headers)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Reply]) -> Reply:
    """Await `work`, or cancel it when the client leaves: a server does not tell a handler by itself."""
    handler = asyncio.current_task()
    assert handler is not None
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        handler.cancel()

    connection = request.scope["state"][CONNECTION]
    if connection.lost:
        work.close()
        raise ClientGone("the client left before its photo was looked at")
    connection.leaving = leave
    try:
        return await work
    except asyncio.CancelledError:
        if not left:
            raise  # it is the server that ends the handler
        handler.uncancel()
        raise ClientGone("the client left before its answer") from None
    finally:
        connection.leaving = None
