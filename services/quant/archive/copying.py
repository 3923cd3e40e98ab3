"""A copy on disk of what an archive has of a symbol, for processes that may not ask its bucket."""

from services.quant.archive.archive import MovedError
from services.quant.archive.storage import LocalStorage, Storage, copy_file

_TRIES = 8


def copy_symbol(source: Storage, target: LocalStorage, kind: str, symbol: str, last_day: int) -> None:
    """Copy a symbol's files of a kind (`ticks`, `bars`) up to a trading day (YYYYMMDD).

    Raises: OSError; MovedError when files are compacted again and again meanwhile.
    """
    above = f"{kind}/symbol={symbol}"
    for day in source.folders(above):
        if int(day.removeprefix("day=")) <= last_day:
            _copy_folder(source, target, f"{above}/{day}")
    marks = f"{kind}-superseded"
    if any(entry.name == f"{symbol}.ns" for entry in source.files(marks)):
        copy_file(source, target, f"{marks}/{symbol}.ns")


def _copy_folder(source: Storage, target: LocalStorage, folder: str) -> None:
    for _ in range(_TRIES):
        try:
            for entry in source.files(folder):
                copy_file(source, target, f"{folder}/{entry.name}")
        except FileNotFoundError:  # compacted, or moved to the bucket: listed again it is there
            source.changed(folder)
            continue
        return
    raise MovedError
