"""The contents of the archive's files: columns, their order, and the numbers that stand for intervals."""

from collections.abc import Mapping
from pathlib import Path

from services.kernel.atomic_file import write_atomically
from services.kernel.data.folder_fence import FolderFence
from services.quant.archive.archive import Archive
from services.quant.archive.parquet_files import EPOCH
from services.quant.archive.s3 import S3Storage
from services.quant.archive.storage import LocalStorage, Storage
from services.quant.archive.tiered import TieredStorage

FOLDER = "market"
"""Below the data folder."""
REMOTE = "archive-url"
"""The file that says where the archive is, when it is not all below this folder."""
TICK_LISTS = ("bid_prices", "bid_quantities", "ask_prices", "ask_quantities")
TICK_COLUMNS = (
    "time_ns", "sequence", "last_price", "last_quantity", "volume", "turnover", "open_interest", "open_price",
    "high_price", "low_price", "pre_close_price", "limit_up", "limit_down", *TICK_LISTS, "trading_day",
)  # fmt: skip
"""The fields of market.v1.Tick, in its order, without the symbol and the gateway: a symbol has one at a time."""
BAR_COLUMNS = ("interval", "start_ns", "open", "high", "low", "close", "volume", "turnover", "open_interest")
INCOMPLETE = "incomplete"
"""1 for a bar that was built over a gap; files of before it, and imported ones, have no such column."""
INTERVALS: Mapping[str, int] = {
    "1m": 1, "5m": 2, "15m": 3, "30m": 4, "1h": 5, "4h": 6, "1d": 7,
    "3m": 1003, "10m": 1010, "2h": 1120, "1w": 11080,
}  # fmt: skip
"""Numbers as in common.v1.Interval; for those that it does not have 1000 + minutes: market leaves them alone."""


def storage(folder: Path, url: str | None = None, fence: FolderFence | None = None) -> Storage:
    """The archive below a folder; a part of it is at a URL, by default the one that market has left there.

    With a fence it is written by the folder's present holder alone.
    """
    local = LocalStorage(folder, fence)
    url = remote_url(folder) if url is None else url
    return TieredStorage(local, S3Storage(url)) if url else local


def remote_url(folder: Path) -> str:
    """The URL of the part of the archive that is elsewhere; empty when there is none."""
    try:
        return (folder / REMOTE).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def keep_remote_url(folder: Path, url: str) -> None:
    """Leave the URL for those who read the archive by its folder."""
    if url != remote_url(folder):
        write_atomically(folder / REMOTE, f"{url}\n".encode())


def ticks(place: Path | Storage) -> Archive:
    """The ticks of an archive, or of the one below a folder."""
    integers = ("time_ns", "sequence", "trading_day", EPOCH)
    return Archive(_storage(place), "ticks", ("time_ns", "sequence"), integers, TICK_LISTS)


def bars(place: Path | Storage) -> Archive:
    """The bars, likewise. Of duplicate bars the one of the later checkpoint counts."""
    order = ("start_ns", "interval", "checkpoint")
    return Archive(_storage(place), "bars", order, (*order, INCOMPLETE))


def _storage(place: Path | Storage) -> Storage:
    return storage(place) if isinstance(place, Path) else place
