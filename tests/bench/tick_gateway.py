"""A gateway whose thread sends ticks of SIM's market for tick_to_order.py, and notes when each passes a hop.

It runs in the platform's process, as CTP's does. Its ticks carry when they were sent (`pre_close`) and their number
(`open_interest`); SIM's own ticks of the symbol go between them. Written as JSON when the gateway is closed.
"""

import json
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import AccountData, TickData

from services.engine.streams.tick_stream import TickStream
from services.market.ticks.hub import Hub
from services.trading.service import OrderService
from services.trading.state.commit_log import CommitLog

MARK = 77
"""The `last_quantity` of its ticks, by which they are known."""
FIRST = 1_000_000
SHANGHAI = ZoneInfo("Asia/Shanghai")


class TickGateway(BaseGateway):
    """Sends `rate` ticks a second of `symbol` at `price` from its connection to its end."""

    default_name = "BENCH"
    default_setting: ClassVar = {}
    exchanges: ClassVar = []

    def connect(self, setting: dict[str, Any]) -> None:
        """Begin."""
        self._setting = setting
        self._closing = threading.Event()
        self._hops: dict[str, dict[Any, Any]] = {"engine": {}, "market": {}, "trading": {}}
        self._note_hops()
        self.on_account(AccountData(gateway_name=self.gateway_name, accountid="1", balance=1))
        threading.Thread(target=self._send, daemon=True).start()

    def close(self) -> None:
        """Stop sending, and write what was noted."""
        self._closing.set()
        Path(self._setting["file"]).write_text(json.dumps(self._hops))

    def _send(self) -> None:
        code, _, exchange = self._setting["symbol"].rpartition(".")
        due, number, price = time.perf_counter(), FIRST, float(self._setting["price"])
        while not self._closing.wait(max(0.0, due - time.perf_counter())):
            due, number = due + 1 / self._setting["rate"], number + 1
            tick = TickData(
                gateway_name="SIM", symbol=code, exchange=Exchange(exchange), datetime=datetime.now(SHANGHAI),
                last_price=price, last_volume=MARK, open_interest=number, bid_price_1=price, bid_volume_1=5,
                ask_price_1=price, ask_volume_1=5,
            )  # fmt: skip
            tick.pre_close = float(time.perf_counter_ns())
            self.on_tick(tick)

    def _note_hops(self) -> None:
        engine, market = self._hops["engine"], self._hops["market"]
        publish, deliver = TickStream.publish, Hub.publish

        def of_engine(stream: TickStream, ticks: Any) -> None:
            now = time.perf_counter_ns()
            engine.update((int(tick.open_interest), now) for tick in ticks if tick.last_volume == MARK)
            publish(stream, ticks)

        def of_market(hub: Hub, batch: Any) -> None:
            now = time.perf_counter_ns()
            marks = zip(batch.values("last_quantity"), batch.values("open_interest"), strict=True)
            market.update((int(number), now) for quantity, number in marks if quantity == MARK)
            deliver(hub, batch)

        TickStream.publish, Hub.publish = of_engine, of_market  # type: ignore[method-assign]
        trading, create, commit = self._hops["trading"], OrderService.create_order, CommitLog.commit

        async def of_trading(service: OrderService, user_id: str, new: Any, *arguments: Any) -> Any:
            trading[new.client_order_id] = [time.perf_counter_ns()]
            return await create(service, user_id, new, *arguments)

        def of_commit(log: CommitLog, changes: Any, *arguments: Any, **options: Any) -> Any:
            done = commit(log, changes, *arguments, **options)
            for order in changes.created.values():
                stamps = trading.get(order.client_order_id, [])
                stamps.append(time.perf_counter_ns())
                done.add_done_callback(lambda _, stamps=stamps: stamps.append(time.perf_counter_ns()))
            return done

        OrderService.create_order, CommitLog.commit = of_trading, of_commit  # type: ignore[method-assign]

    def subscribe(self, req: Any) -> None:
        """All ticks come anyway."""

    def send_order(self, req: Any) -> str:
        """Take none: orders go to SIM."""
        return ""

    def cancel_order(self, req: Any) -> None:
        """There are none."""

    def query_account(self) -> None:
        """Nothing changes."""

    def query_position(self) -> None:
        """There is none."""
