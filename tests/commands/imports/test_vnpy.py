"""`redfire import vnpy` without a platform: what is shown, and what goes into the data folder."""

import json
import sqlite3
from pathlib import Path

import pytest
import yaml

from services.engine.settings import EngineSettings
from services.kernel.runtime.secret_files import SecretFiles
from services.quant.backtest.data.store import DataStore
from tests.commands.imports import vnpy_home
from tests.commands.market.conftest import redfire

__all__ = ["redfire"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return vnpy_home.make(tmp_path_factory.mktemp("user"))


def imported(redfire, home, data, *flags):
    outcome = redfire("import", "vnpy", home, "--data-dir", data, "--json", *flags)
    assert outcome.code in (0, 3), outcome.err
    return outcome.code, json.loads(outcome.out)


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_without_apply_everything_is_shown_and_nothing_is_done(redfire, home, tmp_path):
    code, report = imported(redfire, home, tmp_path / "data")
    assert code == 0 and not (tmp_path / "data").exists()
    assert report["gateways"] == [{"name": "CTP", "state": "new", "installed": False}]
    assert [(one["symbol"], one["interval"], one["rows"]) for one in report["data"]] == [
        ("rb2410.SHFE", "1m", vnpy_home.BARS),
        ("rb2410.SHFE", "tick", vnpy_home.TICKS),
    ]
    assert {one["name"] for one in report["strategies"]} == {"double", "lost"}
    told = " ".join(report["not_read"])
    assert "'w' is not stored" in told and "gone" in told and "nothing runs" in told


def test_bars_and_ticks_are_the_same_in_the_store_and_a_second_time_changes_nothing(redfire, home, tmp_path):
    data = tmp_path / "data"
    code, report = imported(redfire, home, data, "--apply")
    assert code == 3  # the strategies wait for a platform
    bars, ticks = report["data"]
    assert (bars["added"], bars["same"], bars["skipped"]) == (vnpy_home.BARS, vnpy_home.BARS, 0)
    assert (ticks["added"], ticks["same"], ticks["skipped"]) == (vnpy_home.TICKS, vnpy_home.TICKS, 0)
    stored = DataStore(data).load("rb2410.SHFE", "1m")
    assert len(stored) == vnpy_home.BARS and float(stored.close[5]) == 3506.0
    before = {file: (data / file).read_bytes() for file in files(data)}
    _, again = imported(redfire, home, data, "--apply")
    assert [(one["added"], one["known"], one["same"]) for one in again["data"]] == [
        (0, vnpy_home.BARS, vnpy_home.BARS),
        (0, vnpy_home.TICKS, vnpy_home.TICKS),
    ]
    assert {file: (data / file).read_bytes() for file in files(data)} == before


def test_rows_that_the_store_has_with_other_values_stay_and_are_counted(redfire, home, tmp_path):
    data = tmp_path / "data"
    imported(redfire, home, data, "--apply")
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(home / ".vntrader" / "database.db") as there, sqlite3.connect(other / "database.db") as here:
        there.backup(here)
        here.execute("UPDATE dbbardata SET close_price = close_price + 1 WHERE id = 7")
        here.execute("UPDATE dbbardata SET high_price = -5 WHERE id = 9")
    here.close()
    code, report = imported(redfire, other, data, "--apply")
    bars = report["data"][0]
    assert code == 3
    assert (bars["added"], bars["different"], bars["skipped"]) == (0, 1, 1)
    assert bars["why"]


def test_gateways_get_a_file_of_settings_without_passwords(redfire, home, tmp_path):
    data = tmp_path / "data"
    _, report = imported(redfire, home, data, "--apply", "--no-data")
    text = (data / "gateways.yaml").read_text()
    assert "hunter2" not in text and "0000000000000000" not in text
    gateways = EngineSettings.model_validate(yaml.safe_load(text)["engine"]).gateways
    assert (gateways["CTP"].module, gateways["CTP"].class_name) == ("vnpy_ctp", "CtpGateway")
    assert gateways["CTP"].auto_connect is False
    assert SecretFiles(data / "secrets").resolve(gateways["CTP"].setting) == vnpy_home.CONNECT
    assert {file.stat().st_mode & 0o077 for file in (data / "secrets").iterdir()} == {0}
    assert {"ctp.密码", "ctp.授权编码", "vnpy.email.password"} == set(report["secrets"])


def test_a_gateway_that_its_user_has_changed_since_stays(redfire, home, tmp_path):
    data = tmp_path / "data"
    imported(redfire, home, data, "--apply", "--no-data")
    file = data / "gateways.yaml"
    file.write_text(file.read_text().replace("auto_connect: false", "auto_connect: true").replace("9999", "8888"))
    changed = file.read_text()
    _, report = imported(redfire, home, data, "--apply", "--no-data")
    assert report["gateways"][0]["state"] == "other" and file.read_text() == changed
    file.write_text(changed.replace("8888", "9999"))  # connecting by itself is no difference
    _, report = imported(redfire, home, data, "--apply", "--no-data")
    assert report["gateways"][0]["state"] == "same"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cta_strategy_setting.json", "{", "not JSON"),
        ("cta_strategy_setting.json", '{"a": {}, "a": {}}', "twice"),
        ("cta_strategy_setting.json", '{"a": {"class_name": 3}}', "a"),
        ("connect_ctp.json", "[]", "not an object"),
        ("database.db", "not a database at all, but long enough to be one", "no SQLite database"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line_and_nothing_is_done(redfire, tmp_path, name, content, said):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / name).write_text(content)
    outcome = redfire("import", "vnpy", tmp_path / "home", "--data-dir", tmp_path / "data", "--apply")
    assert outcome.code == 2 and name in outcome.err and said in outcome.err and outcome.err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_folder_without_anything_of_vnpys_is_refused(redfire, tmp_path):
    outcome = redfire("import", "vnpy", tmp_path)
    assert outcome.code == 2 and "nothing of vnpy's" in outcome.err
