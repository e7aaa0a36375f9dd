"""Whatever model is written as JSON is read back as the same model."""

import json
from datetime import UTC
from enum import Enum
from functools import reduce
from operator import or_
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, AwareDatetime, BaseModel, EmailStr, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from neural_pipeline.contracts import events, incoming, integrations, metrics, synchronisation, workflows
from neural_pipeline.contracts.shape import Shape

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON_VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
TEXT = st.text(min_size=1, max_size=50)
MOMENTS = st.datetimes(timezones=st.just(UTC))
URLS = st.just("https://example.com/a.png")
EMAILS = st.just("alice@example.com")


def flattened(metadata: Any) -> list[Any]:
    return [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]


def bound(metadata: list[Any], kind: type, name: str, default: Any) -> Any:
    return next((getattr(item, name) for item in metadata if isinstance(item, kind)), default)


def numbers(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    low, high = bound(metadata, Ge, "ge", None), bound(metadata, Le, "le", None)
    if annotation is float:
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    above, below = bound(metadata, Gt, "gt", None), bound(metadata, Lt, "lt", None)
    low = above + 1 if above is not None else low
    return st.integers(low, below - 1 if below is not None else high)


def values(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(args[0], flattened(args[1:]) + metadata)
    if origin in (Union, UnionType):
        return reduce(or_, [values(arg, metadata) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(values(args[0], []), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(), values(args[1], []), max_size=3)
    return plain(annotation, metadata)


def plain(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    special = {JsonValue: JSON_VALUES, AwareDatetime: MOMENTS, EmailStr: EMAILS, type(None): st.none()}
    if annotation in special:
        return special[annotation]
    if any(isinstance(item, AfterValidator) for item in metadata):
        return URLS
    if annotation in (int, float):
        return numbers(annotation, metadata)
    if annotation is str:
        return st.text(
            min_size=bound(metadata, MinLen, "min_length", 0), max_size=bound(metadata, MaxLen, "max_length", 50)
        )
    if annotation is bool:
        return st.booleans()
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    return models(annotation)


def models(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = {name: values(info.annotation, list(info.metadata)) for name, info in model.model_fields.items()}
    return st.fixed_dictionaries(fields).map(lambda drawn: built(model, drawn))


def built(model: type[BaseModel], drawn: dict[str, Any]) -> BaseModel:
    try:
        return model(**drawn)
    except ValidationError as refused:
        assume("chunkOverlap must be smaller" not in str(refused))
        raise


def concrete(module: ModuleType) -> list[type[Shape]]:
    return [
        item
        for name, item in vars(module).items()
        if isinstance(item, type)
        and issubclass(item, Shape)
        and not name.startswith("_")
        and item.__module__ == module.__name__
    ]


def union_members(union: Any) -> list[Any]:
    annotated = get_origin(union) is Annotated
    inner = get_args(union)[0] if annotated else union
    return [member for arg in get_args(inner) for member in union_members(arg)] if get_args(inner) else [inner]


READERS: list[tuple[Any, Any]] = [
    (workflows.WorkflowInput, workflows.parse_input),
    (
        workflows.WorkflowOutput,
        lambda data: workflows.parse_output(data, function_id=workflows.FunctionId(data["inngestFunctionId"])),
    ),
    (metrics.Metric, metrics.parse_metric),
    (incoming.IncomingEvent, incoming.parse_incoming),
    (integrations.SourceConfig, integrations.parse_source_config),
    (integrations.WorkspaceSettings, integrations.parse_workspace_settings),
]
READ = [pytest.param(model, parse, id=model.__name__) for union, parse in READERS for model in union_members(union)]


def reachable(model: Any) -> set[Any]:
    """Return the model and all models inside it."""
    inner = [union_members(info.annotation) for info in model.model_fields.values()]
    nested = [item for items in inner for item in items if isinstance(item, type) and issubclass(item, BaseModel)]
    return {model}.union(*(reachable(item) for item in nested))


def test_the_unions_have_as_many_members_as_the_specification_has_shapes() -> None:
    assert [len(union_members(union)) for union, _ in READERS] == [7, 18, 13, 5, 2, 1]


def test_every_model_of_the_contracts_is_a_member_of_a_union_or_inside_one() -> None:
    modules = (events, workflows, synchronisation, metrics, incoming, integrations)
    covered = {model for union, _ in READERS for member in union_members(union) for model in reachable(member)}
    assert {model for module in modules for model in concrete(module)} <= covered


@pytest.mark.parametrize(("model", "parse"), READ)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_written_as_json_is_read_as_the_same_model(model: type[Shape], parse: Any, data: st.DataObject) -> None:
    one = data.draw(models(model))
    assert parse(json.loads(json.dumps(one.to_json()))) == one
