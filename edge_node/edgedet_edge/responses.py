"""Responses that all routes share: JSON by orjson, problems, and the request's id."""

import itertools
import re
import secrets

import orjson
import structlog
from fastapi import Request, Response

from edgedet_edge.errors import ClientGone, EdgeFault
from edgedet_edge.measurements import Measurements
from edgedet_edge.problems import problem_response

log = structlog.get_logger()
# A counter behind a random prefix: asking the system for randomness costs more than all else about an id.
_OWN_IDS = (f"{prefix}-{number:x}" for prefix in (secrets.token_hex(4),) for number in itertools.count(1))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Counted, never sent: nobody is there to read it. The number is nginx's.
_CLIENT_GONE = 499


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A document of plain structures."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def error_response(request: Request, error: Exception, measurements: Measurements) -> Response:
    """The error's problem document; counted, and logged where it is our fault."""
    request_id = request_id_of(request)
    response = problem_response(error, request_id)
    status: int = response.status_code
    if isinstance(error, ClientGone):
        log.info("client left", request_id=request_id)
        status = _CLIENT_GONE
    elif status >= 500 and not isinstance(error, EdgeFault):
        log.error("request failed", request_id=request_id, path=request.url.path, exc_info=error)
    measurements.refused(status)
    return response


def request_id_of(request: Request) -> str:
    """The client's own where it is sound, else a new one; the same for all of a request's life."""
    if not hasattr(request.state, "request_id"):
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else next(_OWN_IDS)
    request_id: str = request.state.request_id
    return request_id
