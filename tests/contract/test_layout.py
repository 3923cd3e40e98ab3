"""A new service is one proto folder, one service folder, one line in the registry; nothing else lists services."""

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

from services import registry
from services.cli import cli

ROOT = Path(__file__).resolve().parents[2]


def test_every_service_folder_has_its_line_in_the_registry_and_the_files_all_have():
    with_bind = {file.parent.name for file in (ROOT / "services").glob("*/bind.py")}
    assert with_bind == set(registry.SERVICES), "services/registry.py: a line for each services/*/bind.py"
    for name in registry.SERVICES:
        for file in ("api.py", "service.py", "settings.py"):
            assert (ROOT / "services" / name / file).is_file(), f"services/{name}/{file} is missing"


def test_the_import_contracts_name_no_service_but_those_of_its_own_rooms():
    """A new service needs no line: what holds between services holds for any."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for name in registry.SERVICES:
        for contract in contracts:
            modules = re.findall(r"services\.(\w+)", str(contract))
            assert name not in modules or set(modules) == {name}, contract["name"]


def test_help_of_serve_lists_the_registry():
    shown = CliRunner().invoke(cli, ["serve", "--help"]).output
    assert " ".join(registry.SERVICES) in " ".join(shown.split())
    source = (ROOT / "services/commands/serve.py").read_text()
    assert "config auth user" not in source


def test_lock_files_name_no_host():
    """Packages come from any registry that has them; hashes say that they are the same."""
    locks = [*ROOT.glob("*.lock"), *(ROOT / "tests").rglob("package-lock.json"), *(ROOT / "tests").rglob("go.sum")]
    assert len(locks) >= 4
    assert [lock.name for lock in locks if "://" in lock.read_text()] == []
