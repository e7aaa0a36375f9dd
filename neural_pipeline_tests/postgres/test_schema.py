"""The schema: migrated equals declared, and every name the reference's readers rely on is there.

What is expected stands in `reference_schema`.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

from neural_pipeline.postgres.databases import create_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline_tests.building import column, one
from neural_pipeline_tests.reference_schema import COLUMNS, INDEXES

CATALOGUE = {
    "columns": """
        select c.relname || '.' || a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull,
          a.attidentity, a.attgenerated, a.attnum, pg_get_expr(d.adbin, d.adrelid) as default
        from pg_attribute a join pg_class c on c.oid = a.attrelid
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped""",
    "storage": """
        select relname as name, reloptions from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r'""",
    "indexes": """
        select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) from pg_index i
        join pg_class c on c.oid = i.indrelid where c.relnamespace = 'public'::regnamespace""",
    "constraints": """
        select conrelid::regclass::text || '.' || conname as name, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'public'::regnamespace""",
    "triggers": """
        select tgrelid::regclass::text || '.' || tgname as name, pg_get_triggerdef(oid), tgenabled from pg_trigger
        where not tgisinternal""",
    "functions": """
        select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')""",
}


@pytest.fixture(scope="module")
def declared(server: Path, template: str) -> Iterator[Connection]:
    """A database made from the declared schema alone."""
    create_database(server_url(server, "postgres"), "declared")
    engine = create_engine(server_url(server, "declared"))
    folder = files("neural_pipeline") / "store" / "schema"
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        for script in sorted(folder.iterdir(), key=lambda path: path.name):
            driver.cursor().execute(script.read_text(encoding="utf-8"))
        yield connection
    engine.dispose()


def catalogue(connection: Connection, kind: str) -> dict[str, Any]:
    found = (tuple(row) for row in connection.execute(text(CATALOGUE[kind])))
    return {name: rest for name, *rest in found if not name.startswith("neural_alembic_version")}


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_migrated_schema_is_the_declared_one(scratch: Connection, declared: Connection, kind: str) -> None:
    migrated = catalogue(scratch, kind)
    assert migrated == catalogue(declared, kind)
    assert migrated


def short(type_: str) -> str:
    return type_.replace("character varying", "varchar").replace("timestamp with time zone", "timestamptz")


def default_of(expression: str | None) -> str:
    if expression is None:
        return ""
    plain = expression.partition("::")[0].strip("'")
    return {"CURRENT_TIMESTAMP": "now", "neural_nanoid()": "nanoid"}.get(plain, plain)


def described(connection: Connection, table: str) -> list[str]:
    sql = """
    select attname, format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid)
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = cast(:table as regclass) and attnum > 0 order by attnum
    """
    return [
        f"{name} {short(type_)}{'' if filled else '?'} {'identity' if identity == 'a' else default_of(value)}".strip()
        for name, type_, filled, identity, value in connection.execute(text(sql), {"table": table})
    ]


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_of_the_reference_is_there_with_type_null_and_default_in_its_place(
    scratch: Connection, table: str
) -> None:
    expected = [" ".join(entry.split()) for entry in COLUMNS[table].split(",")]
    assert described(scratch, table)[: len(expected)] == expected


def shape(definition: str) -> str:
    """Return what matters of `pg_get_indexdef`: uniqueness, method, columns, condition."""
    plain = definition.lower().replace('"', "").replace("lower((key)::text)", "lower(key)")
    found = re.fullmatch(r"create (unique )?index \S+ on \S+ using (\w+) (.*)", plain)
    assert found, definition
    return f"{found[1] or ''}{'' if found[2] == 'btree' else f'{found[2]} '}{found[3]}"


@pytest.mark.parametrize("table", INDEXES)
def test_every_index_of_the_reference_is_there(scratch: Connection, table: str) -> None:
    sql = "select indexname, indexdef from pg_indexes where schemaname = 'public' and tablename = :table"
    found = {f"{name} {shape(definition)}" for name, definition in scratch.execute(text(sql), {"table": table})}
    expected = {line.strip() for line in INDEXES[table].strip().splitlines()}
    assert expected - found == set()


@pytest.mark.parametrize("table", [table for table in COLUMNS if "workspace_id" in COLUMNS[table]])
def test_what_belongs_to_a_workspace_goes_with_it(scratch: Connection, table: str) -> None:
    sql = """
    select pg_get_constraintdef(oid) from pg_constraint where conrelid = cast(:table as regclass) and contype = 'f'
    """
    key = "FOREIGN KEY (workspace_id) REFERENCES lightfast_org_workspaces(id) ON DELETE CASCADE"
    assert key in column(scratch, sql, table=table)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (
            "lightfast_workspace_integrations",
            "(user_source_id) REFERENCES lightfast_user_sources(id) ON DELETE CASCADE",
        ),
        (
            "lightfast_workspace_neural_entities",
            "(source_observation_id) REFERENCES lightfast_workspace_neural_observations(id) ON DELETE SET NULL",
        ),
        (
            "lightfast_workspace_knowledge_vector_chunks",
            "(doc_id) REFERENCES lightfast_workspace_knowledge_documents(id) ON DELETE CASCADE",
        ),
        (
            "observation_entities",
            "(observation_id) REFERENCES lightfast_workspace_neural_observations(id) ON DELETE CASCADE",
        ),
        ("observation_entities", "(entity_id) REFERENCES lightfast_workspace_neural_entities(id) ON DELETE CASCADE"),
    ],
)
def test_rows_that_point_at_others_follow_them(scratch: Connection, table: str, key: str) -> None:
    sql = "select pg_get_constraintdef(oid) from pg_constraint where conrelid = cast(:table as regclass)"
    assert f"FOREIGN KEY {key}" in column(scratch, sql, table=table)


def test_an_observation_and_an_entity_are_linked_once(scratch: Connection) -> None:
    sql = "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'observation_entities'::regclass"
    assert "PRIMARY KEY (observation_id, entity_id)" in column(scratch, sql)


def test_vectors_have_no_index_for_approximate_search(scratch: Connection) -> None:
    sql = "select indexdef from pg_indexes where tablename = 'observation_vectors'"
    assert [definition for definition in column(scratch, sql) if " btree " not in definition] == []


def test_drawn_ids_have_the_shape_of_a_nanoid_and_differ(scratch: Connection) -> None:
    drawn = column(scratch, "select neural_nanoid() from generate_series(1, 500)")
    assert len(set(drawn)) == 500
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{21}", id_) for id_ in drawn)


def test_ids_that_the_database_draws_are_not_taken_from_outside(scratch: Connection) -> None:
    sql = (
        "select count(*) as n from pg_attribute where attidentity = 'd' and attrelid::regclass::text like 'lightfast%'"
    )
    assert one(scratch, sql)["n"] == 0


def test_an_intake_must_add_up(scratch: Connection) -> None:
    sql = """
    insert into intakes (channel, received, accepted, duplicate, unsupported, invalid) values ('door', 3, 1, 1, 0, 0)
    """
    with pytest.raises(IntegrityError, match="intake_adds_up"):
        scratch.execute(text(sql))
