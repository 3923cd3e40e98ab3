"""Secrets at the operator's hands: gateways' passwords, made passwords in pipes and journals, and others' folders."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from services.commands.data_folder import open_private
from services.engine.settings import EngineSettings
from services.kernel.errors import StartError
from services.kernel.runtime.secret_files import SecretFiles
from services.kernel.runtime.settings import load
from tests.harness import platform
from tests.running import REDFIRE
from tests.screen import Screen

CTP = {"module": "vnpy_ctp", "class": "CtpGateway"}


@pytest.mark.parametrize(
    "setting",
    [
        {"用户名": "081234", "密码": "hunter2"},
        {"授权编码": "0000000000000000"},
        {"password": 123456},
        {"trade": {"front": "tcp://user:hunter2@front"}},
    ],
)
def test_a_gateways_password_in_the_settings_stops_the_start_and_is_not_shown(tmp_path: Path, setting: dict) -> None:
    file = tmp_path / "redfire.yaml"
    file.write_text(yaml.safe_dump({"engine": {"gateways": {"CTP": {**CTP, "setting": setting}}}}, allow_unicode=True))
    for source in ({"config_file": file, "environ": {}}, variable({"CTP": {**CTP, "setting": setting}})):
        with pytest.raises(StartError, match="secret: NAME") as refused:
            load((EngineSettings,), **source)
        assert "hunter2" not in str(refused.value) and "000" not in str(refused.value)


def variable(gateways: dict) -> dict:
    return {"environ": {"REDFIRE_ENGINE__GATEWAYS": json.dumps(gateways)}}


def test_a_reference_is_resolved_from_a_file_or_else_from_the_environment(tmp_path: Path) -> None:
    environ = {"REDFIRE_SECRET__CTP_PASSWORD": "from-variable", "REDFIRE_SECRET__授权": "中"}
    files = SecretFiles(tmp_path, environ)
    setting = {"密码": {"secret": "ctp-password"}, "授权编码": {"secret": "授权"}}
    loaded = load((EngineSettings,), environ=environ | variable({"CTP": {**CTP, "setting": setting}})["environ"])
    assert loaded.of(EngineSettings).gateways["CTP"].setting == setting
    assert files.resolve(setting) == {"密码": "from-variable", "授权编码": "中"}
    files.write("ctp-password", "from-file")
    assert files.resolve(setting)["密码"] == "from-file"
    with pytest.raises(StartError, match="REDFIRE_SECRET__MISSING_ONE"):
        files.resolve({"secret": "missing.one"})
    for path in ("../other", "/etc/passwd", ".hidden", "a/b"):
        with pytest.raises(StartError, match="not a secret's name"):
            files.resolve({"secret": path})


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    async with platform("auth", "user", data_dir=tmp_path):
        pass
    return tmp_path


async def test_a_made_password_goes_to_a_private_file_unless_a_terminal_shows_it(folder: Path) -> None:
    command = ["admin", "create-user", "bob", "--email", "bob@example.com", "--data-dir", str(folder)]
    ended = subprocess.run([REDFIRE, *command], capture_output=True, text=True, timeout=60, check=True)
    file = folder / "password-bob"
    password = file.read_text().strip()
    assert len(password) >= 16 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password not in ended.stdout + ended.stderr and str(file) in ended.stdout

    file.unlink()
    with Screen("admin", "reset-password", "bob", "--data-dir", folder) as terminal:
        assert terminal.end() == 0
        assert "; password: " in terminal.shown
    assert not file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("kind", ["new", "used"])
def test_a_data_folder_of_another_user_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if kind == "used":
        (folder / "lock").touch()
    os.chown(folder, 54321, 54321)
    with pytest.raises(StartError, match="another user's"):
        open_private(folder)
    command = [REDFIRE, "up", "--port", "0", "--data-dir", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2 and "another user's" in ended.stderr
    assert sorted(file.name for file in folder.iterdir()) == (["lock"] if kind == "used" else [])
    linked = tmp_path / "link"
    linked.symlink_to(folder)
    with pytest.raises(StartError, match="another user's"):
        open_private(linked)


@pytest.mark.skipif(os.geteuid() == 0, reason="root's own folder is root's")
def test_another_users_folder_is_refused_to_who_cannot_give_it_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(StartError, match="another user's"):
        open_private(tmp_path)
