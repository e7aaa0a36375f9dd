"""Child workflows, models and their use, and vectors in two parts."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    cursor = op.get_bind().connection.cursor()
    cursor.execute(script)
    cursor.close()


def downgrade() -> None:
    raise RuntimeError("what models answered cannot be brought back: restore a copy of the database instead")
