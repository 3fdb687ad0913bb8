"""The OpenAPI document: everything typed and described, examples that are what they say."""

from pathlib import Path
from typing import Any

import pytest
from edgedet_edge import openapi, schemas
from edgedet_edge.app import create_app
from edgedet_edge.node import EdgeNode
from edgedet_edge.photo_routes import PhotoRoutes
from edgedet_edge.settings import EdgeSettings

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def document(models: Path) -> dict[str, Any]:
    node = EdgeNode.load(EdgeSettings(models=models))
    return create_app(node, PhotoRoutes(node)).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_and_parameter_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation.get("description"), name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (name, parameter["name"])
            assert "null" not in str(parameter["schema"]), (name, parameter["name"])


def test_limits_of_parameters_are_told(document: dict[str, Any]) -> None:
    parameters = {p["name"]: p["schema"] for p in document["paths"]["/v1/detect"]["post"]["parameters"]}
    assert (parameters["score_threshold"]["minimum"], parameters["score_threshold"]["maximum"]) == (0, 1)
    assert (parameters["max_detections"]["minimum"], parameters["max_detections"]["maximum"]) == (1, 1000)
    assert parameters["boundary"]["minimum"] == 0
    assert parameters["X-Deadline-Ms"]["exclusiveMinimum"] == 0


def test_a_detection_comes_as_json_or_as_a_picture(document: dict[str, Any]) -> None:
    post = document["paths"]["/v1/detect"]["post"]
    assert set(post["requestBody"]["content"]) == {"image/jpeg", "image/png", "multipart/form-data"}
    assert set(post["responses"]["200"]["content"]) == {"application/json", "image/jpeg"}


def test_every_problem_is_documented_as_one_with_an_example(document: dict[str, Any]) -> None:
    for path in ("/v1/detect", "/v1/classify"):
        responses = document["paths"][path]["post"]["responses"]
        told = {int(status) for status in responses if status != "200"}
        assert told == {400, 403, 404, 408, 413, 415, 422, 429, 431, 503, 504}
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("4") or (status.startswith("5") and name != "GET /health/ready"):
                assert set(response["content"]) == {PROBLEM}, (name, status)
                problem = schemas.Problem.model_validate(response["content"][PROBLEM]["example"])
                assert problem.status == int(status)
    assert "Retry-After" in document["paths"]["/v1/detect"]["post"]["responses"]["429"]["headers"]


def test_every_json_answer_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        content = operation["responses"]["200"]["content"].get("application/json")
        if content is None or name.startswith("GET /health"):
            continue
        schema = getattr(schemas, content["schema"]["$ref"].rpartition("/")[2])
        schema.model_validate(content["example"])


def test_examples_are_consistent_with_themselves() -> None:
    answer = openapi.DETECT_RESPONSES[200]["content"]["application/json"]["example"]
    where = [segment["where"] for segment in answer["route"]["segments"]]
    assert where.count("edge") == answer["route"]["boundary"]
    stages = {stage: ms for stage, ms in answer["timing_ms"].items() if stage != "total"}
    assert sum(stages.values()) <= answer["timing_ms"]["total"]
