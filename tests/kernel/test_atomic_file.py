"""Files written in one step: whole or not there, private from their first moment, nothing left beside them."""

import os
import stat
from pathlib import Path

import pytest

from services.kernel.atomic_file import PRIVATE, write_atomically


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "document.json"
    file.write_text("old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_private_file_is_private_whatever_the_umask_and_an_older_file_were(tmp_path):
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        write_atomically(file, b"new", mode=PRIVATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_an_ended_process_left_is_replaced(tmp_path):
    left = tmp_path / f".secret.{os.getpid()}"
    left.write_text("left")
    left.chmod(0o644)
    write_atomically(tmp_path / "secret", b"new", mode=PRIVATE)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert not left.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    file = tmp_path / "document.json"
    file.write_text("old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
