"""What retention, reprocessing and the loss of workers need to be recorded."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    script = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    cursor = op.get_bind().connection.cursor()
    cursor.execute(script)
    cursor.close()


def downgrade() -> None:
    raise RuntimeError("what was pruned cannot be brought back: restore a copy of the database instead")
