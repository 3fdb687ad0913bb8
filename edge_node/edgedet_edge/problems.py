"""Errors to problem documents (RFC 9457): the one place where an error becomes a status."""

from http import HTTPStatus
from typing import Any

import orjson
from edgedet_runtime.errors import (
    PhotoTooLarge,
    PhotoTypeUnsupported,
    PhotoUndecodable,
    RuntimeFault,
    TensorMismatch,
    UnknownModel,
)
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from edgedet_edge.errors import EdgeFault, Overloaded

MEDIA_TYPE = "application/problem+json"

_RUNTIME_FAULTS: dict[type[RuntimeFault], tuple[HTTPStatus, str]] = {
    PhotoUndecodable: (HTTPStatus.BAD_REQUEST, "Undecodable photo"),
    PhotoTypeUnsupported: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
    PhotoTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Photo too large"),
    UnknownModel: (HTTPStatus.NOT_FOUND, "Unknown model"),
    TensorMismatch: (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"),
}


def problem_response(error: Exception, request_id: str = "") -> Response:
    """The problem document of an error, with `Retry-After` where there is one."""
    if isinstance(error, EdgeFault):
        status, title, detail = HTTPStatus(error.status), error.title, str(error)
    elif isinstance(error, RuntimeFault):
        status, title = _RUNTIME_FAULTS.get(type(error), (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error"))
        detail = str(error)
    elif isinstance(error, RequestValidationError):
        status, title, detail = HTTPStatus.UNPROCESSABLE_ENTITY, "Bad query value", _first_fault(error)
    elif isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        title, detail = status.phrase, str(error.detail)
    else:
        status, title, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error", "see the node's log"
    return _document(status, title, detail, request_id, error)


def _document(status: HTTPStatus, title: str, detail: str, request_id: str, error: Exception) -> Response:
    slug = title.lower().replace(" ", "-")
    body: dict[str, Any] = {"type": f"urn:edgedet:problem:{slug}", "title": title, "status": status, "detail": detail}
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if request_id:
        body["request_id"] = request_id
        headers["X-Request-Id"] = request_id
    if isinstance(error, Overloaded):
        body["retry_after_s"] = error.retry_after_s
        headers["Retry-After"] = str(error.retry_after_s)
    if status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
        headers["Connection"] = "close"
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def _first_fault(error: RequestValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
