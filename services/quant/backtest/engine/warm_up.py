"""The history that a strategy asks for before its run: what it asked for, and what the data had of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.quant.backtest.engine.replay import Replay, vnpy_interval
from services.quant.backtest.job import TICK

_KEPT = 20


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """One question: rows of `symbol` from `first` on, before the start; `interval` is the name of vnpy's, "" when any
    would do. `row_count` rows came."""

    symbol: str
    interval: str
    first: datetime
    row_count: int


class WarmUp:
    """The source of a core's history: the data's own rows, as vnpy's database would have them."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.requests: list[HistoryRequest] = []
        """The first questions."""

    def history(self, vt_symbol: str, interval: Any, first: datetime, last: datetime) -> list[Any]:
        """Rows from `first` to `last`, both included."""
        rows = self.replay.history(vt_symbol, interval, first, last)
        self._note(HistoryRequest(vt_symbol, interval.name, first, len(rows)))
        return rows

    def before(self, first: datetime, last: datetime) -> list[Any]:
        """The same of whatever interval the data have."""
        rows = self.replay.rows(*self.replay.between(first, last))
        self._note(HistoryRequest(self.replay.symbol, "", first, len(rows)))
        return rows

    def shortfalls(self, start: datetime) -> list[str]:
        """Sentences on history that was asked for and is not in the data."""
        replay = self.replay
        first_day = replay.first_day()
        sentences = []
        for request in self.requests:
            days = (start - request.first).total_seconds() / 86_400
            asked = f"To warm up it asked for the {days:g} days before {start.date()}"
            own = vnpy_interval(replay.interval).name
            data = "ticks" if replay.interval == TICK else f"{replay.interval} bars"
            if request.symbol != replay.symbol:
                sentence = f"{asked}, of {request.symbol}: the data are of {replay.symbol}, so it got nothing."
            elif request.interval not in ("", own):
                rows_named = "ticks" if request.interval == "TICK" else f"{request.interval.lower()} bars"
                sentence = f"{asked}, as {rows_named}: the data are {data}, so it got nothing."
            elif first_day > request.first.date():
                got = f"only {request.row_count:,} rows" if request.row_count else "nothing"
                sentence = (
                    f"{asked}, which is more than there is: the data begin on {first_day}, so it got {got}. Use data "
                    "that begin earlier, or a later start."
                )
            else:
                continue
            if sentence not in sentences:
                sentences.append(sentence)
        return sentences

    def _note(self, request: HistoryRequest) -> None:
        if len(self.requests) < _KEPT:
            self.requests.append(request)
