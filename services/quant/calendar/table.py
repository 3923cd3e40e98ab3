"""The table of sessions: `table.yaml`, checked when it is loaded."""

from bisect import bisect_right
from datetime import date
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from services.kernel.errors import StartError
from services.quant.calendar.days import HOUR_NS, MINUTE_NS

FILE = Path(__file__).with_name("table.yaml")
Entry = TypeVar("Entry")


def _time_ns(text: object) -> int:
    if not isinstance(text, str) or len(text) != 5 or text[2] != ":" or not (text[:2] + text[3:]).isdigit():
        raise ValueError(f"{text!r} is not a time like 09:30")
    hours, minutes = int(text[:2]), int(text[3:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text!r} is not a time like 09:30")
    return hours * HOUR_NS + minutes * MINUTE_NS


def _ascending(dated: dict[date, Entry]) -> dict[date, Entry]:
    if not dated or list(dated) != sorted(dated):
        raise ValueError("dates must ascend")
    return dated


Time = Annotated[int, BeforeValidator(_time_ns)]
"""Nanoseconds since midnight on the exchange's clock."""
Auction = tuple[Time, Time, Time]
"""Begin, matching, end."""
HoursByDay = Annotated[dict[date, str], AfterValidator(_ascending)]
EndsByDay = Annotated[dict[date, Time], AfterValidator(_ascending)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hours(_Entry):
    """A day's sessions, without the night."""

    auction: Auction
    continuous: tuple[tuple[Time, Time], ...] = Field(min_length=1)
    closing_auction: Auction | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        begin, matching, end = self.auction
        times = [begin, end, *chain.from_iterable(self.continuous)]
        if self.closing_auction:
            times += self.closing_auction[::2]
        if times != sorted(times) or any(a >= b for a, b in self.continuous) or not begin < matching <= end:
            raise ValueError("sessions must follow each other")
        return self


class Night(_Entry):
    """The part of all night sessions that is the same."""

    auction: Auction
    start: Time


class NightsOfProducts(_Entry):
    """The ends of some products' night sessions, by the trading day from which it holds."""

    products: tuple[str, ...]
    ends: EndsByDay


class HoursOfProducts(_Entry):
    """The hours of some products that are not their exchange's."""

    products: tuple[str, ...]
    hours: HoursByDay


class Exchange(_Entry):
    """An exchange's sessions."""

    hours: HoursByDay
    morning_auction_after_night: date | None = None
    nights: tuple[NightsOfProducts, ...] = ()
    products: tuple[HoursOfProducts, ...] = ()

    @model_validator(mode="after")
    def _products_are_unique(self) -> Self:
        for entries in (self.nights, self.products):
            names = [name for entry in entries for name in entry.products]
            if len(names) != len(set(names)):
                raise ValueError("a product is named twice")
        return self


class Table(_Entry):
    """All of `table.yaml`."""

    closures: tuple[date, ...]
    nights_suspended: tuple[tuple[date, date], ...]
    hours: dict[str, Hours]
    night: Night
    exchanges: dict[str, Exchange]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, exchange in self.exchanges.items():
            for hours in (exchange.hours, *(entry.hours for entry in exchange.products)):
                unknown = set(hours.values()) - set(self.hours)
                if unknown:
                    raise ValueError(f"{name}: there are no hours {unknown.pop()!r}")
        if any(first > last for first, last in self.nights_suspended):
            raise ValueError("nights_suspended: the first day comes first")
        return self


@cache
def load_table(path: Path = FILE) -> Table:
    """The table of a file, read once. Raises: StartError with the first thing that is wrong."""
    try:
        return Table.model_validate(yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartError(f"calendar {path}: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise StartError(f"calendar {path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def in_force(dated: dict[date, Entry], day: date) -> Entry | None:
    """The entry of the last date until `day`, None before the first."""
    index = bisect_right(list(dated), day)
    return list(dated.values())[index - 1] if index else None
