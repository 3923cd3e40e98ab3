"""Feeds, the sources of SIM's market: their specifications, and what each can do."""

import gzip
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TextIO, cast

from services.engine.feeds.quote import Quote
from services.kernel.errors import StartError

FORMS = "sim | sim:SEED | replay:FILE[@SPEED|@max][?start=now|subscribe]"
REQUIRED_COLUMNS = ("datetime", "symbol", "exchange", "last_price")


class FeedError(StartError, ValueError):
    """The requested feed cannot be made; the message is one line with the reason."""


@dataclass(frozen=True, slots=True)
class SimFeedSpec:
    """A random market."""

    seed: int = 1


class ReplayStart(StrEnum):
    """The moment when a replay begins."""

    RECORDER = "recorder"
    """A reader of the ticks records them: the default."""
    SUBSCRIBE = "subscribe"
    """One of its symbols is subscribed, and a reader of the ticks records them."""
    NOW = "now"
    """At once: readers that come later than the ring of the tick stream reaches back miss its first ticks."""


@dataclass(frozen=True, slots=True)
class ReplayFeedSpec:
    """A recorded market. `speed` None is as fast as the readers take it."""

    file: Path
    speed: float | None = 1.0
    start: ReplayStart = ReplayStart.RECORDER


FeedSpec = SimFeedSpec | ReplayFeedSpec


class Feed(Protocol):
    """A source of quotes that runs on the event loop."""

    @property
    def paced(self) -> bool:
        """True when it waits for its readers instead of keeping a pace of its own."""

    @property
    def realtime(self) -> bool:
        """True when its quotes carry the present time."""

    @property
    def needs_recorder(self) -> bool:
        """True when it begins, and if paced goes on, only while a reader of the ticks records them."""

    async def run(self, deliver: Callable[[Quote], bool], wait_for_capacity: Callable[[], Awaitable[None]]) -> None:
        """Deliver quotes until the feed ends; `wait_for_capacity` returns when the readers can take more.

        `deliver` returns false for a quote that SIM does not trade, since its symbol is another gateway's.
        """

    def watermark_ns(self) -> int | None:
        """The exchange time that no later quote is before, but for late ones; None while there is no saying."""

    def subscribe(self, symbol: str) -> None:
        """Note that a symbol is subscribed."""


def parse_feed(text: str) -> FeedSpec:
    """The feed of a setting. A replay's file is opened and its header read.

    Raises: FeedError with one clear line.
    """
    kind, _, rest = text.strip().partition(":")
    if kind == "sim" and (rest or ":" not in text):
        return SimFeedSpec(_seed(text, rest)) if rest else SimFeedSpec()
    if kind == "replay" and rest:
        return _replay(text, rest)
    raise FeedError(f"feed {text!r}: it must be {FORMS}")


def open_recording(path: Path) -> AbstractContextManager[TextIO]:
    """A recording as text, gzipped or not (by its first bytes, not by its name)."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    if gzipped:
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open("r", encoding="utf-8-sig", newline="")


def _seed(text: str, rest: str) -> int:
    if rest.isascii() and rest.isdigit() and len(rest) <= 18:
        return int(rest)
    raise FeedError(f"feed {text!r}: the seed must be a whole number")


def _replay(text: str, rest: str) -> ReplayFeedSpec:
    start = ReplayStart.RECORDER
    if "?" in rest:
        rest, _, option = rest.rpartition("?")
        name, _, value = option.partition("=")
        if name != "start" or value not in set(ReplayStart):
            raise FeedError(f"feed {text!r}: unknown option {option!r}, start={'|'.join(ReplayStart)} is known")
        start = ReplayStart(value)
    name, speed = rest, cast("float | None", 1.0)
    if "@" in rest and not Path(rest).exists():
        name, _, pace = rest.rpartition("@")
        speed = None if pace == "max" else _speed(text, pace)
    path = Path(name).expanduser().absolute()
    _check_file(path)
    return ReplayFeedSpec(path, speed, start)


def _speed(text: str, pace: str) -> float:
    try:
        speed = float(pace.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise FeedError(f"feed {text!r}: the speed must be max or a number above 0 and up to 1000000, not {pace!r}")
    return speed


def _check_file(path: Path) -> None:
    try:
        with open_recording(path) as file:
            header = file.readline(65_536)
            first_row = file.readline(65_536)
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError):
        raise FeedError(f"replay file {path}: it is not a CSV file, gzipped or not") from None
    except OSError as error:
        raise FeedError(f"replay file {path}: {error.strerror or error}") from None
    columns = [column.strip().strip('"') for column in header.strip().split(",")]
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise FeedError(f"replay file {path}: its header lacks {', '.join(missing)}")
    if not first_row.strip():
        raise FeedError(f"replay file {path}: it has no rows")
