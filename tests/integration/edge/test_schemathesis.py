"""Schemathesis makes up requests out of the OpenAPI document; the edge has a sound answer to each."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from demo.processes import Running
from tests.integration.edge.asking import client_of, detect

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def api_schema(edge: Running) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{edge.url}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["sound", "unsound"])
def test_no_request_finds_a_fault(api_schema: schemathesis.BaseSchema, mode: GenerationMode) -> None:
    for result in api_schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not operation.query:
            continue  # nothing that can be wrong

        @settings(
            max_examples=60,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=_CHECKS)

        ask()


def test_real_photos_conform_as_well(api_schema: schemathesis.BaseSchema, edge: Running, photo: bytes) -> None:
    with client_of(edge) as client:
        _conforms(api_schema, "/v1/detect", detect(client, photo))
        _conforms(api_schema, "/v1/classify", client.post("/v1/classify", content=photo))


def _conforms(api_schema: schemathesis.BaseSchema, path: str, response: httpx.Response) -> None:
    assert response.status_code == 200
    api_schema[path]["POST"].validate_response(response)
