"""The one base class of every model that is stored or exchanged as JSON: camelCase outside, snake_case inside."""

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    """Immutable model; unknown fields are refused; JSON keys are camelCase and absent options are left out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object exactly as the tables store it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
