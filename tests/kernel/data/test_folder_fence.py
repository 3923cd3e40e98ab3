"""The fence of a shared folder: a holder that another has succeeded changes none of its files."""

import multiprocessing
from pathlib import Path

import pytest

from services.kernel.data.folder_fence import FencedError, FolderFence
from services.quant.archive.storage import LocalStorage


def taken(folder: Path, epoch: int, is_held: bool = True) -> FolderFence:
    fence = FolderFence(folder, epoch)
    fence.take(lambda: is_held)
    return fence


def test_the_holder_writes_replaces_and_removes(tmp_path: Path) -> None:
    fence = taken(tmp_path, 1)
    fence.write(tmp_path / "state", b"one")
    fence.write(tmp_path / "state", b"two")
    assert (tmp_path / "state").read_bytes() == b"two"
    fence.remove(tmp_path / "state")
    fence.remove(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    assert [path.name for path in tmp_path.iterdir()] == [fence.staging.name]


def test_one_that_was_succeeded_changes_nothing(tmp_path: Path) -> None:
    former = taken(tmp_path, 1)
    former.write(tmp_path / "state", b"former")
    staged = former.staged("late")
    staged.write_bytes(b"late")
    later = taken(tmp_path, 2)
    for change in (
        lambda: former.write(tmp_path / "state", b"late"),
        lambda: former.place(staged, tmp_path / "late"),
        lambda: former.remove(tmp_path / "state"),
        lambda: former.opened(former.staged("other")),
    ):
        with pytest.raises(FencedError):
            change()
    assert (tmp_path / "state").read_bytes() == b"former"
    later.write(tmp_path / "state", b"later")
    assert sorted(path.name for path in tmp_path.iterdir()) == [later.staging.name, "state"]


def test_one_that_comes_late_does_not_take_it_back(tmp_path: Path) -> None:
    later = taken(tmp_path, 2)
    with pytest.raises(FencedError):
        taken(tmp_path, 1, is_held=False)
    later.write(tmp_path / "state", b"later")


def test_a_new_database_whose_epochs_begin_anew_takes_it(tmp_path: Path) -> None:
    former = taken(tmp_path, 57)
    fence = taken(tmp_path, 1)
    assert fence.epoch == 58
    with pytest.raises(FencedError):
        former.write(tmp_path / "state", b"former")
    fence.write(tmp_path / "state", b"new")


def test_an_archive_is_written_and_emptied_by_its_holder_alone(tmp_path: Path) -> None:
    former = LocalStorage(tmp_path, taken(tmp_path, 1))
    former.write("ticks/day=1/a.parquet", lambda file: file.write(b"a"))
    later = LocalStorage(tmp_path, taken(tmp_path, 2))
    for change in (
        lambda: former.write("ticks/day=1/a.parquet", lambda file: file.write(b"late")),
        lambda: former.write("ticks/day=2/b.parquet", lambda file: file.write(b"late")),
        lambda: former.remove("ticks/day=1/a.parquet"),
    ):
        with pytest.raises(FencedError):
            change()
    assert later.open("ticks/day=1/a.parquet").read() == b"a"
    assert not later.files("ticks/day=2")
    later.remove("ticks/day=1/a.parquet")
    later.write("ticks/day=1/c.parquet", lambda file: file.write(b"c"))
    assert [entry.name for entry in later.files("ticks/day=1")] == ["c.parquet"]


def _write_on(folder: Path, epoch: int) -> None:
    fence = taken(folder, epoch)
    number = 0
    while True:
        number += 1
        try:
            fence.write(folder / "state", f"{epoch} {number}".encode())
        except FencedError:
            return


def test_a_writer_in_the_middle_of_a_write_is_fenced_out(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writer = spawn.Process(target=_write_on, args=(tmp_path, 1))
    writer.start()
    while not (tmp_path / "state").exists():
        pass
    later = taken(tmp_path, 2)
    later.write(tmp_path / "state", b"2")
    writer.join()
    assert writer.exitcode == 0
    assert (tmp_path / "state").read_bytes() == b"2"
