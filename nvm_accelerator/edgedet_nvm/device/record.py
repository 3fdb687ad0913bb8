"""What is read from a preset file: frozen, and strict about names it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A misspelled field must not be a default in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError) -> str:
    """What the first value that does not fit should be, behind its field; a fault of the whole has no field."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_not_found":
        said = f"the field {first['ctx']['discriminator']} is missing"
    return f"{field}: {said}" if field else said
