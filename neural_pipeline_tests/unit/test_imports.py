"""What commands do not import: they pay for it each time they start. What Dagster loads stands in test_definitions."""

import subprocess
import sys

DRAWING = {"pandas", "matplotlib", "jinja2", "sklearn", "scipy"}
MODELS = {"pydantic_ai", "openai", "anthropic", "fastembed"}
MIGRATING = {"alembic", "mako"}
NO_COMMAND = DRAWING | MODELS | MIGRATING | {"dagster", "dagster_postgres"}

WITHOUT_VECTORS = ("ingest", "runs", "payloads", "workspaces", "prune", "report", "up", "demo", "db", "environment")
WITHOUT_TABLES = ("ingest", "workspaces", "search", "report", "reembed", "prune", "doctor", "up", "db", "environment")
SETTINGS_OF_WORKSPACES = "neural_pipeline.contracts.integrations"


def loaded_by(*commands: str, then: str = "") -> set[str]:
    """Return the packages, and the modules of this one, that a process has loaded after importing some commands."""
    modules = ", ".join(["neural_pipeline.cli.main", *(f"neural_pipeline.cli.{command}" for command in commands)])
    program = f"import sys, {modules}\n{then}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = done.stdout.splitlines()[-1].split()
    return {name if name.startswith("neural_pipeline") else name.partition(".")[0] for name in names}


def test_the_command_line_itself_needs_no_database_no_models_of_data_and_draws_nothing():
    assert not loaded_by() & (NO_COMMAND | {"sqlalchemy", "pydantic", "numpy", "rich"})


def test_a_command_that_says_its_help_has_loaded_nothing_heavy():
    loaded = loaded_by(then="neural_pipeline.cli.main.run(['ingest', '--help'])")
    assert "neural_pipeline.cli.ingest" in loaded
    assert not loaded & (NO_COMMAND | {"numpy"})


def test_no_command_loads_dagster_or_what_migrates_or_draws_before_it_needs_them():
    assert not loaded_by(*{*WITHOUT_VECTORS, *WITHOUT_TABLES}) & NO_COMMAND


def test_numpy_is_for_commands_that_compare_vectors():
    assert "numpy" not in loaded_by(*WITHOUT_VECTORS)


def test_rich_is_for_commands_that_draw_tables():
    assert "rich" not in loaded_by(*WITHOUT_TABLES)


def test_handing_in_an_event_needs_neither_numpy_nor_rich_nor_the_settings_of_workspaces():
    assert not loaded_by("ingest") & (NO_COMMAND | {"numpy", "rich", SETTINGS_OF_WORKSPACES})
