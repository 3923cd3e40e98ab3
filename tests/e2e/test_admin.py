"""`redfire admin` while the platform runs and while it is stopped."""

import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.running import PASSWORD, REDFIRE, Running, until


def admin(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REDFIRE, "admin", *arguments, "--data-dir", str(folder)],
        input=stdin, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def done(folder: Path, *arguments: str, stdin: str = "") -> dict[str, str]:
    ended = admin(folder, *arguments, "--json", stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    return json.loads(ended.stdout)


def password_of(made: dict[str, str]) -> str:
    """The password that was made: its output is no terminal, so it is in a file."""
    assert "password" not in made
    return Path(made["password_file"]).read_text().strip()


def new_name() -> str:
    return "a" + uuid4().hex[:12]


def test_while_it_runs_users_are_made_promoted_and_given_passwords(up):
    name = new_name()
    made = done(up.data_dir, "create-user", name, "--email", f"{name}@example.com", "--role", "user")
    assert (made["username"], made["role"]) == (name, "user")
    client = up.client()
    client.login(name, password_of(made))
    # The event reaches trading from another process too.
    until(lambda: client.get("/api/trading/accounts").json().get("accounts"))
    assert client.post("/api/trading/orders:preview").status_code == 403

    assert done(up.data_dir, "set-role", name, "trader")["role"] == "trader"
    until(lambda: client.get("/api/users/me").status_code == 401, timeout_s=1.5)
    client.login(name, password_of(made))
    assert client.post("/api/trading/orders:preview").status_code == 400

    first = password_of(made)
    reset = done(up.data_dir, "reset-password", name)
    until(lambda: client.get("/api/users/me").status_code == 401, timeout_s=1.5)
    refused = client.post("/api/users/login", {"username": name, "password": first})
    assert refused.status_code == 401
    client.login(name, password_of(reset))

    given = done(up.data_dir, "reset-password", name, "--password-stdin", stdin=PASSWORD + "\n")
    assert "password" not in given and "password_file" not in given
    client.login(name, PASSWORD)


@pytest.mark.timeout(120)
def test_while_it_is_stopped_too_and_the_next_start_knows(tmp_path):
    running = Running(data_dir=tmp_path / "data").start()
    alice = running.register("alice")
    key = alice.post("/api/users/apiKeys", {"displayName": "k", "scopes": ["trading:write"]}).json()["secret"]
    running.stop()
    made = done(running.data_dir, "create-user", "bob", "--email", "bob@example.com")
    assert made["role"] == "trader"
    done(running.data_dir, "set-role", "alice", "user")
    last = admin(running.data_dir, "set-role", "admin", "user")
    assert (last.returncode, "last" in last.stderr.lower()) == (1, True)
    rotated = admin(running.data_dir, "rotate-keys")
    assert rotated.returncode == 0
    running.start()
    try:
        # Sessions that were to end have ended before the first call.
        assert running.client(alice.token).get("/api/users/me").status_code == 401
        assert running.client(**{"x-api-key": key}).post("/api/trading/orders:preview").status_code == 401
        bob = running.client()
        bob.login("bob", password_of(made))
        until(lambda: bob.get("/api/trading/accounts").json().get("accounts"))
        alice = running.client()
        alice.login("alice", PASSWORD)
        assert alice.get("/api/users/me").json()["user"]["role"] == "user"
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["create-user", "!", "--email", "x@example.com"], 1, "username"),
        (["create-user", "{new}", "--email", "nonsense"], 1, "email"),
        (["create-user", "{taken}", "--email", "other@example.com"], 1, "USERNAME_TAKEN"),
        (["create-user", "{new}", "--email", "{taken}@example.com"], 1, "EMAIL_TAKEN"),
        (["create-user", "{new}"], 2, "--email"),
        (["create-user", "{new}", "--email", "x@example.com", "--role", "king"], 2, "king"),
        (["set-role", "nobody-at-all", "trader"], 1, "nobody-at-all"),
        (["set-role", "{taken}", "king"], 2, "king"),
        (["reset-password", "nobody-at-all"], 1, "nobody-at-all"),
        (["no-such-command"], 2, "no-such-command"),
    ],
)
def test_errors_are_printed_with_an_exit_code(up, trader, arguments, code, named):
    taken = trader.get("/api/users/me").json()["user"]["username"]
    filled = [argument.format(new=new_name(), taken=taken) for argument in arguments]
    ended = admin(up.data_dir, *filled)
    assert ended.returncode == code, ended.stderr
    assert named in ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    if code == 1:
        assert len(ended.stderr.strip().splitlines()) == 1


def test_a_weak_password_is_refused(up):
    name = new_name()
    for password in ("", "short", name, "x" * 129):
        ended = admin(
            up.data_dir,
            "create-user",
            name,
            "--email",
            f"{name}@example.com",
            "--password-stdin",
            stdin=password + "\n",
        )
        assert ended.returncode == 1, password
        assert len(ended.stderr.strip().splitlines()) == 1
        assert not password or password not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["create-user", "a-name", "--email", "a@example.com"],
        ["set-role", "a", "user"],
        ["reset-password", "a"],
        ["rotate-keys"],
    ],
)
def test_a_folder_that_is_none_is_reported_and_not_made(tmp_path, arguments):
    ended = admin(tmp_path / "absent", *arguments)
    assert ended.returncode == 2
    assert "absent" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "absent").exists()
