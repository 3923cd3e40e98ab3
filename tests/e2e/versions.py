"""Versions of RedFire in folders of their own: one of this repository's history, and one that comes after this one."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from compileall import compile_dir
from io import BytesIO
from pathlib import Path

from services.commands.migrate import services_with_database
from services.kernel.data.schema import runs_from
from tests.running import ROOT

MIGRATIONS = "services/*/migrations/versions/*.py"
_MIGRATION = re.compile(r"services/(\w+)/migrations/versions/(\d+)_\w+\.py")
NEXT_COLUMNS = {"user": ("UserRow", "users"), "trading": ("OrderRow", "orders"), "config": ("ConfigRow", "configs")}
"""Models, and tables, that the next version adds a column to."""
NEXT_READS = (
    "services/trading/rows.py",
    'values = dict(row)\n    values.pop("is_open")\n',
    'values = dict(row)\n    values.pop("is_open"), values.pop("note_of_tomorrow")\n',
)
"""Reading of the new column by the next version: the file, our line, and its own."""
SPEAKS_WITH_US = "services/kernel/identity/service_keys.py"
"""A file of the oldest version whose processes take the tokens of ours: services sign with keys of their own."""
_NEXT_MIGRATION = '''"""Add a note."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
runs_from = "{before}"


def upgrade() -> None:
    """Go on from revision {before}."""
    op.add_column("{table}", sa.Column("note_of_tomorrow", sa.String(20)))
'''
_NEXT_MODEL = "\n\n{model}.note_of_tomorrow = mapped_column(String(20), nullable=True)\n"


def heads(folder: Path = ROOT) -> dict[str, str]:
    """Newest revision of each service's migrations."""
    numbers = sorted(file.relative_to(folder).as_posix() for file in folder.glob(MIGRATIONS))
    return dict(_revisions(numbers))


def earlier_version(folder: Path) -> Path | None:
    """The last version of the history with an older schema, of which ours says that it runs on our tables.

    One whose processes speak with ours. None where there is none, or the clone has not got it.
    """
    oldest = {
        name: runs_from(ROOT / "services" / name / "migrations", head)
        for name, head in heads().items()
        if name in services_with_database()
    }
    for commit in _parents_of_migrations():
        files = _git("ls-tree", "-r", "--name-only", commit, "services").decode().splitlines()
        revisions = _revisions(files)
        theirs = dict(revisions)
        if len(revisions) != len({*revisions}):
            continue  # two migrations of one number: a commit that could not run
        if theirs == heads():
            continue
        if SPEAKS_WITH_US not in files or theirs.keys() != oldest.keys():
            return None
        if any(theirs[name] < oldest[name] for name in oldest):
            return None
        with tarfile.open(fileobj=BytesIO(_git("archive", commit, "services", "gen"))) as archive:
            archive.extractall(folder, filter="data")
        return _compiled(folder)
    return None


def this_version(folder: Path) -> Path:
    """A copy of ours, compiled modules included."""
    for part in ("services", "gen"):
        shutil.copytree(ROOT / part, folder / part)  # with what is compiled
    return _compiled(folder)


def next_version(folder: Path) -> Path:
    """Ours with a column more in three services, by migrations that leave ours running."""
    this_version(folder)
    for service, (model, table) in NEXT_COLUMNS.items():
        home, before = folder / "services" / service, heads()[service]
        revision = f"{int(before) + 1:04}"
        migration = _NEXT_MIGRATION.format(revision=revision, before=before, table=table)
        (home / "migrations" / "versions" / f"{revision}_add_note.py").write_text(migration)
        with (home / "models.py").open("a") as models:
            models.write(_NEXT_MODEL.format(model=model))
    file, ours, theirs = NEXT_READS
    text = (folder / file).read_text()
    assert text.count(ours) == 1
    (folder / file).write_text(text.replace(ours, theirs))
    return _compiled(folder)


def _compiled(folder: Path) -> Path:
    """A version with its bytecode, so that none of its processes, of which each starts anew, compiles it."""
    compile_dir(folder, quiet=2)
    return folder


def _revisions(files: list[str]) -> list[tuple[str, str]]:
    """(service, revision) of migrations' files, in order."""
    return [(found[1], found[2]) for file in files if (found := _MIGRATION.fullmatch(file))]


def _parents_of_migrations() -> Iterator[str]:
    """Commits before those that added a migration, the newest first, as far as they are there."""
    for line in _git("log", "--format=%P", "--", MIGRATIONS).decode().splitlines():
        for parent in line.split():
            if _git("rev-parse", "--verify", "--quiet", f"{parent}^{{tree}}"):
                yield parent


def _git(*arguments: str) -> bytes:
    """Output of git; nothing where it fails: not every copy of the sources is a clone, nor has it the whole history."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, env=variables)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""
