"""A whole platform with TLS, behind a proxy that it trusts: users are told apart by the addresses that this adds."""

import contextlib
import ssl
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.running import PASSWORD, REDFIRE, Running

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def stopped(up: Running) -> Iterator[None]:
    """Stop the platform at the end."""
    try:
        yield
    finally:
        if up.process is not None and up.process.poll() is None:
            up.stop(60)


def test_users_behind_a_proxy_are_told_apart_and_all_is_encrypted() -> None:
    up = Running("--tls-self-signed", "--trusted-hops", "1")
    with stopped(up):
        up.start(timeout_s=300)
        up.register("alice")
        url = up.text().partition("RedFire is up: ")[2].split()[0]
        assert url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(up.data_dir / "envoy/tls/certificate.pem"))

        def login(address: str, password: str = PASSWORD) -> httpx.Response:
            body = {"username": "alice", "password": password}
            headers = {"x-forwarded-for": f"198.51.100.1, {address}"}
            return httpx.post(f"{url}/api/users/login", json=body, headers=headers, verify=trusted, timeout=60)

        owner = login("203.0.113.5")
        assert owner.status_code == 200
        bearer = {"authorization": f"Bearer {owner.json()['accessToken']}"}
        sessions = httpx.get(f"{url}/api/users/sessions", headers=bearer, verify=trusted, timeout=60).json()["sessions"]
        assert sessions[0]["clientAddress"] == "203.0.113.5"
        codes = [login("203.0.113.66", f"wrong-Horse-{n}").status_code for n in range(5)]
        assert codes == [401] * 5
        assert login("203.0.113.5").status_code == 200
        # The port for commands of this machine has no proxy before it, and needs no certificate.
        asked = subprocess.run(
            [REDFIRE, "health", "--data-dir", up.data_dir], capture_output=True, text=True, timeout=120
        )
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.startswith("SERVING")
