"""What is read from a preset file: frozen, and strict about names it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """A misspelled field must not be a default in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
