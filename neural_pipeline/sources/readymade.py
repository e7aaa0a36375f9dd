"""Source events that come ready made, as somebody types them into the Launchpad: checked like any other payload."""

from pydantic import JsonValue, ValidationError

from neural_pipeline.contracts.events import MAX_REFERENCES, SourceEvent
from neural_pipeline.sources.errors import InvalidPayload
from neural_pipeline.sources.intake import Judgement, parse_json
from neural_pipeline.sources.sanitation import body_of, one_line, repair


def judge_source_event(body: bytes, *, max_bytes: int) -> Judgement:
    """Decide what becomes of a source event given as JSON; no body makes it raise."""
    if len(body) > max_bytes:
        return Judgement("invalid", reason=f"is too large: {len(body)} bytes, at most {max_bytes} are read")
    try:
        return Judgement("accepted", event=SourceEvent.model_validate(_bounded(_repaired(parse_json(body)))))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"])) or "source event"
        return Judgement("invalid", reason=one_line(f"{path}: {first['msg']}"))
    except InvalidPayload as error:
        return Judgement("invalid", reason=one_line(str(error)))
    except OverflowError:
        return Judgement("invalid", reason="occurredAt: leaves the calendar")


def _repaired(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return repair(value)[0]
        case list():
            return [_repaired(item) for item in value]
        case dict():
            return {repair(key)[0]: _repaired(item) for key, item in value.items()}
        case _:
            return value


def _bounded(value: JsonValue) -> JsonValue:
    """Cut body and references before any pattern runs over them."""
    if not isinstance(value, dict):
        return value
    body, references = value.get("body"), value.get("references")
    return (
        value
        | ({"body": body_of(body)} if isinstance(body, str) else {})
        | ({"references": references[:MAX_REFERENCES]} if isinstance(references, list) else {})
    )
