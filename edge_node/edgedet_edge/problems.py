"""Errors to problem documents (RFC 9457): the one place where an error becomes a status."""

from http import HTTPStatus
from typing import Any

import orjson
from edgedet_runtime.errors import (
    PhotoTooLarge,
    PhotoTypeUnsupported,
    PhotoUndecodable,
    RuntimeFault,
    UnknownModel,
)
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from edgedet_edge.errors import BadQuery, Draining, EdgeFault, Overloaded

MEDIA_TYPE = "application/problem+json"

_INTERNAL = (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error", "see the node's log")
_RUNTIME_FAULTS: dict[type[RuntimeFault], tuple[HTTPStatus, str]] = {
    PhotoUndecodable: (HTTPStatus.BAD_REQUEST, "Undecodable photo"),
    PhotoTypeUnsupported: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
    PhotoTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Photo too large"),
    UnknownModel: (HTTPStatus.NOT_FOUND, "Unknown model"),
}


def problem_response(error: Exception, request_id: str) -> Response:
    """The problem document of an error, with `Retry-After` where there is one."""
    status, title, detail = _describe(error)
    slug = title.lower().replace(" ", "-")
    body: dict[str, Any] = {
        "type": f"urn:edgedet:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    headers["X-Request-Id"] = request_id
    if isinstance(error, Overloaded):
        body["retry_after_s"] = error.retry_after_s
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Draining):
        headers["Connection"] = "close"
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def _describe(error: Exception) -> tuple[HTTPStatus, str, str]:
    """Status, title and detail; what went wrong inside the node stays in its log."""
    if isinstance(error, EdgeFault):
        return HTTPStatus(error.status), error.title, str(error)
    if isinstance(error, RuntimeFault) and type(error) in _RUNTIME_FAULTS:
        status, title = _RUNTIME_FAULTS[type(error)]
        return status, title, str(error)
    if isinstance(error, RequestValidationError):
        return HTTPStatus(BadQuery.status), BadQuery.title, _first_fault(error)
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        allowed = (error.headers or {}).get("Allow")
        detail = f"method: this path takes {allowed}" if allowed else status.description
        return status, status.phrase, detail or str(error.detail)
    return _INTERNAL


def _first_fault(error: RequestValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
