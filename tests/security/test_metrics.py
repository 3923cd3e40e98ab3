"""The metrics of a process: with a token at all addresses but loopback, and there where a file for it is named."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from services.kernel.errors import StartError
from services.kernel.runtime.metrics_token import FILE, metrics_token
from services.kernel.runtime.settings import Settings, load
from tests.harness import Platform, platform


def settings(folder: Path, **server: object) -> Settings:
    return load([], flags={"platform": {"data_dir": folder}, "server": server}, environ={})


async def status_of(p: Platform, authorization: str = "", path: str = "/metrics") -> int:
    headers = {"authorization": authorization.encode()} if authorization else {}
    async with httpx.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{p.host.operations.port}{path}", headers=headers)).status_code


async def test_metrics_are_for_who_reads_the_private_token(tmp_path: Path) -> None:
    token = metrics_token(settings(tmp_path, host="0.0.0.0"))
    file = tmp_path / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and file.read_text().strip() == token
    async with platform("config", data_dir=tmp_path, settings={"server": {"metrics_token_file": file}}) as p:
        for given in ("", token, f"Basic {token}", f"Bearer {token[:-1]}", f"Bearer {token}x", "Bearer", "Bearer é"):
            assert await status_of(p, given) == 401, given
        assert await status_of(p, f"Bearer {token}") == 200
        for path in ("/healthz", "/livez"):
            assert await status_of(p, path=path) == 200


async def test_loopback_shows_them_without_one(tmp_path: Path) -> None:
    async with platform("config", data_dir=tmp_path) as p:
        assert await status_of(p) == 200
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "redfire.example", ""])
def test_each_other_address_wants_one(tmp_path: Path, host: str) -> None:
    assert len(metrics_token(settings(tmp_path, host=host))) > 30


def test_processes_that_start_together_have_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda _: metrics_token(settings(tmp_path / "new", host="10.1.2.3")), range(16)))
    assert len(tokens) == 1
    assert [file.name for file in (tmp_path / "new").iterdir()] == [FILE]


def test_a_file_without_a_token_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "given"
    for content in (None, b"", b"short\n", b"\xff" * 40):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(StartError, match="token of /metrics"):
            metrics_token(settings(tmp_path, metrics_token_file=file))
    file.write_text("0123456789abcdef0123\n")
    assert metrics_token(settings(tmp_path, metrics_token_file=file)) == "0123456789abcdef0123"
