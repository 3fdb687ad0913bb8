"""What a client may ask for beside its photo: query values and headers, checked by one pydantic model per route.

FastAPI would check value by value, at a tenth of a millisecond and more for every photo; here one call checks all, and
the same models make the OpenAPI document's parameters.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from edgedet_edge.errors import BadQuery

DEADLINE_HEADER = "X-Deadline-Ms"

# What is left out is None inside, but nobody can send a null: the document does not offer one.
Absent = SkipJsonSchema[None]
Share = Annotated[float, Field(ge=0, le=1)] | Absent
Count = Annotated[int, Field(ge=1, le=1000)] | Absent
Index = Annotated[int, Field(ge=0)] | Absent
Name = Annotated[str, Field(max_length=200)] | Absent
Milliseconds = Annotated[float, Field(gt=0, le=600_000)] | Absent


class PhotoQuery(BaseModel):
    """What every photo's route takes. A misspelled name must not be a default in silence: extras are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name = Field(default=None, description="name[:version]; default: the node's own choice")
    boundary: Index = Field(default=None, description="forces k, where the node allows it")


class DetectQuery(PhotoQuery):
    """`/v1/detect`."""

    score_threshold: Share = Field(default=None, description="least score; default: the package's own")
    iou_threshold: Share = Field(
        default=None, description="of two boxes of a class that overlap more the lesser goes; default as above"
    )
    max_detections: Count = Field(default=None, description="the best ones; default: the package's own")
    format: Literal["json", "image"] = Field(
        default="json", description="image: the photo with its boxes drawn, as JPEG"
    )


class ClassifyQuery(PhotoQuery):
    """`/v1/classify`."""

    top_k: Count = Field(default=None, description="number of classes; default: the package's own")


class PhotoHeaders(BaseModel):
    """Headers of a photo's request."""

    deadline_ms: Milliseconds = Field(
        default=None, alias=DEADLINE_HEADER, description="milliseconds from the photo's arrival to its answer"
    )
    request_id: str | Absent = Field(
        default=None, alias="X-Request-Id", description="1 to 64 of A-Z a-z 0-9 . _ -; another gets replaced"
    )


Asked = TypeVar("Asked", bound=PhotoQuery)


def read_query(request: Request, kind: type[Asked]) -> Asked:
    """The query values.

    Raises:
        BadQuery: naming the value and what it must be.
    """
    if not request.scope["query_string"]:
        return kind()
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise BadQuery(_first_fault("query", error, kind)) from error


def read_deadline_ms(request: Request) -> float | None:
    """`X-Deadline-Ms`, None where it is not sent.

    Raises:
        BadQuery: not a number of milliseconds, or out of range.
    """
    value = request.headers.get(DEADLINE_HEADER)
    if value is None:
        return None
    try:
        return PhotoHeaders.model_validate({DEADLINE_HEADER: value}).deadline_ms
    except ValidationError as error:
        raise BadQuery(_first_fault("header", error, PhotoHeaders)) from error


def unknown_name(place: str, name: str, known: Iterable[str]) -> str:
    """What is wrong with a name that is not among `known`."""
    return f"{place}: nothing is called {name!r} here; there are: {', '.join(sorted(known)) or 'none'}"


def parameters(kind: type[PhotoQuery]) -> list[dict[str, Any]]:
    """The route's parameters for the OpenAPI document."""
    return [*_parameters("query", kind), *_parameters("header", PhotoHeaders)]


def _parameters(place: str, kind: type[BaseModel]) -> list[dict[str, Any]]:
    properties = kind.model_json_schema(by_alias=True)["properties"]
    return [
        {
            "name": name,
            "in": place,
            "required": False,
            "description": schema.pop("description"),
            "schema": {key: value for key, value in schema.items() if key != "title" and value is not None},
        }
        for name, schema in properties.items()
    ]


def _first_fault(place: str, error: ValidationError, kind: type[BaseModel]) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return unknown_name(place, name, kind.model_fields)
    return f"{place}.{name}: {first['msg']}"
