"""The disk that chaos fills and makes read-only: it does so to its folder alone, and gives it back."""

import errno

import pytest

from tests.chaos.disk import DataDisk, can_mount


@pytest.fixture
def disk(tmp_path):
    if not can_mount():
        pytest.skip("this process may not mount")
    data_disk = DataDisk(tmp_path / "data")
    yield data_disk
    data_disk.close()


def test_a_full_disk_takes_nothing_until_it_is_emptied(disk, tmp_path):
    kept = (tmp_path / "data" / "kept").open("ab", buffering=0)
    kept.write(b"before")
    disk.fill()
    with pytest.raises(OSError, match="No space left") as failure:
        while kept.write(b"x" * 10_000):  # what is left of its last page
            continue
    assert failure.value.errno == errno.ENOSPC
    disk.empty()
    kept.write(b"after")
    kept.close()
    (tmp_path / "beside").write_text("another disk")


def test_what_is_opened_in_a_read_only_folder_is_not_written_and_what_was_open_is(disk, tmp_path):
    folder = tmp_path / "data" / "market"
    folder.mkdir()
    with (folder / "log").open("a") as log:
        disk.forbid("market")
        with pytest.raises(OSError, match="Read-only") as failure:
            (folder / "other").write_text("no")
        assert failure.value.errno == errno.EROFS
        log.write("on")
        (tmp_path / "data" / "other").write_text("elsewhere")
        disk.allow("market")
    (folder / "log").open("a").close()
    assert (folder / "log").read_text() == "on"
