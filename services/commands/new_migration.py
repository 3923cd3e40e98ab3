"""`python -m services.commands.new_migration SERVICE NAME`: a migration from a service's last one to its models.

It is a draft: read it, above all where rows that are there need values.
"""

import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy import False_, True_, create_engine

from services.kernel.data.migrations import upgrade
from services.kernel.data.schema import schema_of

_TEMPLATE = '''"""{summary}."""

import sqlalchemy as sa
from alembic import op

from services.kernel.data import columns

revision = "{revision}"
down_revision = {before}
# The oldest revision whose version runs on what this makes: an earlier one where this only adds what that leaves alone.
runs_from = "{revision}"


def upgrade() -> None:
    """Go on from {after}."""
    {body}
'''


def write_migration(service: str, name: str) -> Path | None:
    """Write the next revision's file; None where the models are as the last one leaves them."""
    models = import_module(f"services.{service}.models")
    folder = Path(models.__file__ or "").parent / "migrations"
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    schema = schema_of(models.Base)
    before = schema.head
    revision = f"{int(before or 0) + 1:04}"
    with tempfile.TemporaryDirectory() as scratch:
        engine = create_engine(f"sqlite:///{scratch}/scratch.sqlite")
        with engine.begin() as connection:
            if before:
                upgrade(connection, folder)
            options = {"render_as_batch": bool(before), "render_item": _render, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            changes = produce_migrations(context, schema.metadata)
            if changes.upgrade_ops is None or changes.upgrade_ops.is_empty():
                return None
            body = render_python_code(
                changes.upgrade_ops, render_as_batch=bool(before), render_item=_render, migration_context=context
            )
        engine.dispose()
    body = re.sub(r"^ *#.*\n?", "", body, flags=re.MULTILINE).strip()
    words = name.replace("_", " ")
    text = _TEMPLATE.format(
        summary=words[:1].upper() + words[1:],
        revision=revision,
        before=f'"{before}"' if before else None,
        after=f"revision {before}" if before else "nothing",
        body=body,
    )
    if "columns." not in body:
        text = text.replace("\nfrom services.kernel.data import columns\n", "")
    file = folder / "versions" / f"{revision}_{name}.py"
    file.write_text(text)
    return file


def _render(kind: str, thing: Any, _: Any) -> Any:
    if kind == "type" and type(thing).__module__ == "services.kernel.data.columns":
        return f"columns.{type(thing).__name__}()"
    if kind == "server_default" and isinstance(getattr(thing, "arg", None), False_ | True_):
        return f"sa.{'false' if isinstance(thing.arg, False_) else 'true'}()"
    return False


if __name__ == "__main__":
    print(write_migration(sys.argv[1], sys.argv[2]) or "the models are as the last migration leaves them")  # noqa: T201
