"""A gateway whose thread sends a burst of ticks, as fast as it can, when `engine_to_subscriber.py` says so.

It runs in the platform's process, as CTP's does, and sends under SIM's name, since SIM has the symbol's contract.
"""

import threading
import time
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import AccountData, TickData

from services.quant.calendar import Calendar
from services.quant.calendar.session import SessionKind

MARK = 77
"""The `last_quantity` of its ticks, by which they are known."""
PREPARED = 8192
GO = threading.Event()
SHANGHAI = ZoneInfo("Asia/Shanghai")


class BurstGateway(BaseGateway):
    """Sends `count` five-level ticks of `symbol`, once."""

    default_name = "BENCH"
    default_setting: ClassVar = {}
    exchanges: ClassVar = []

    def connect(self, setting: dict[str, Any]) -> None:
        """Begin to wait."""
        self.on_account(AccountData(gateway_name=self.gateway_name, accountid="1", balance=1))
        threading.Thread(target=self._send, args=(setting["symbol"], int(setting["count"])), daemon=True).start()

    def close(self) -> None:
        """Nothing is open."""

    def _send(self, symbol: str, count: int) -> None:
        code, _, exchange = symbol.rpartition(".")
        levels = {f"{side}_{what}_{level}": 3500.0 + level for side in ("bid", "ask") for what in ("price", "volume")
                  for level in range(1, 6)}  # fmt: skip
        moment = _in_session(symbol)
        # What a gateway takes to make a tick is its own.
        ticks = [
            TickData(
                gateway_name="SIM", symbol=code, exchange=Exchange(exchange), datetime=moment,
                last_price=3500.0, last_volume=MARK, turnover=1e9, open_interest=5e5, open_price=3490.0,
                high_price=3510.0, low_price=3480.0, limit_up=3800.0, limit_down=3200.0, **levels,
            )
            for _ in range(PREPARED)
        ]  # fmt: skip
        GO.wait()
        for number in range(count):
            tick = ticks[number % PREPARED]
            tick.volume = 1e9 + number  # one that goes back is a late tick's, which is rare and dear
            tick.pre_close = float(time.perf_counter_ns())
            self.on_tick(tick)

    def subscribe(self, req: Any) -> None:
        """The ticks come anyway."""

    def send_order(self, req: Any) -> str:
        """Take none."""
        return ""

    def cancel_order(self, req: Any) -> None:
        """There are none."""

    def query_account(self) -> None:
        """Nothing changes."""

    def query_position(self) -> None:
        """There is none."""


def _in_session(symbol: str) -> datetime:
    """A moment in the continuous trading of the present trading day: outside of it bars are not folded."""
    calendar, now_ns = Calendar.load(), time.time_ns()
    sessions = calendar.sessions_of(symbol, calendar.trading_day(symbol, now_ns))
    last = [one for one in sessions if one.kind is SessionKind.CONTINUOUS][-1]
    return datetime.fromtimestamp((last.start_ns + last.end_ns) / 2e9, SHANGHAI)
