"""`redfire import vnpy` and `redfire config import` into a running platform."""

import json
from pathlib import Path

from tests.commands.imports import vnpy_home
from tests.commands.market.processes import Outcome, outcome, start
from tests.running import Client, Running, until


def redfire(up: Running, *arguments: object, token: str = "") -> Outcome:
    more = ["--token", token] if token else []
    return outcome(start(*arguments, "--data-dir", up.data_dir, "--json", *more, env=up.environment))


def test_a_vnpy_users_strategies_and_settings_are_here_and_go_on_with_their_variables(
    up: Running, trader: Client, admin: Client, tmp_path: Path
):
    home = vnpy_home.make(tmp_path / "user")
    # What cannot be known: the positions and the user's own class.
    shown = redfire(up, "import", "vnpy", home, "--no-data", token=trader.token)
    assert shown.code == 0, shown.err
    assert not trader.get("/api/strategies").json().get("strategies")

    for _ in range(2):  # again, it is the same strategy
        done = redfire(up, "import", "vnpy", home, "--no-data", "--apply", token=trader.token)
        assert done.code == 3, done.err
        report = json.loads(done.out)
        double, lost = sorted(report["strategies"], key=lambda one: one["name"])
        assert double["state"] == "here, as in vnpy" and "position of 2" in double["problems"][0]
        assert lost["state"] == "refused" and "MyOwnStrategy" in lost["problems"][0]
        assert report["settings"]["differing"] == []
        (listed,) = trader.get("/api/strategies").json()["strategies"]
        assert listed["strategyId"] == double["strategy_id"]
    assert listed["parameters"]["fast_window"] == 7 and listed["variables"]["fast_ma0"] == 3511.5
    value = admin.get("/api/config/development/vnpy/email.password").json()["config"]["value"]
    assert value == {"secret": "vnpy.email.password"}
    assert (up.data_dir / "secrets" / "vnpy.email.password").read_text() == "mailpass"

    strategy_id = listed["strategyId"]
    assert trader.post(f"/api/strategies/{strategy_id}:start").status_code == 200

    def variables() -> dict:
        strategy = trader.get(f"/api/strategies/{strategy_id}").json()["strategy"]
        return strategy["variables"] if strategy["status"] == "STRATEGY_STATUS_RUNNING" else {}

    running = until(variables, timeout_s=60)
    assert (running["fast_ma0"], running["slow_ma0"]) == (3511.5, 3500.25)
    assert trader.post(f"/api/strategies/{strategy_id}:stop").status_code == 200


def test_a_tree_of_files_is_the_environments_configuration(up: Running, admin: Client, tmp_path: Path):
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "extra.yaml").write_text("window:\n  seconds: 5\n  db_password: s3cret\n")
    (tmp_path / "shop.env").write_text("NAME=x\n")
    shown = redfire(up, "config", "import", tmp_path, "--environment", "imported")
    assert shown.code == 0, shown.err
    assert set(json.loads(shown.out)["would_change"]) == {
        "risk.extra.window.seconds", "risk.extra.window.db_password", "shop.NAME"
    }  # fmt: skip
    assert admin.get("/api/config/imported/shop/NAME").status_code == 404
    done = redfire(up, "config", "import", tmp_path, "--environment", "imported", "--apply")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["values"], report["differing"]) == (3, [])
    got = admin.get("/api/config/imported/risk/extra.window.db_password").json()["config"]["value"]
    assert got == {"secret": "risk.extra.window.db_password"}
    assert (up.data_dir / "secrets" / got["secret"]).read_text() == "s3cret"
    again = redfire(up, "config", "import", tmp_path, "--environment", "imported")
    assert json.loads(again.out)["would_change"] == []


def test_a_file_that_config_refuses_changes_nothing(up: Running, admin: Client, tmp_path: Path):
    (tmp_path / "a.yaml").write_text("good: 1\n")
    (tmp_path / "b.yaml").write_text("big: 99999999999999999999\n")
    done = redfire(up, "config", "import", tmp_path, "--environment", "refused", "--apply")
    assert done.code == 1 and "b.big" in done.err
    assert admin.get("/api/config/refused/a/good").status_code == 404
