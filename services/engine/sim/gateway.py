"""SIM: an ordinary vnpy gateway whose exchange is in this process."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from vnpy.trader.constant import Exchange, Product
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    AccountData,
    CancelRequest,
    ContractData,
    OrderRequest,
    SubscribeRequest,
    TickData,
)

from services.engine.feeds.quote import Quote
from services.engine.sim.exchange import SimExchange
from services.engine.sim.order_ids import SimOrderIds
from services.engine.updates import OrderRequest as Order
from services.engine.vnpy.engine import EVENT_FEED_ENDED, EVENT_WATERMARK
from services.engine.vnpy.mapping import position_to_vnpy, request_from_vnpy
from services.quant.catalogue import Instrument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BIDS, _ASKS = (
    [(f"{side}_price_{place}", f"{side}_volume_{place}") for place in range(1, 6)] for side in ("bid", "ask")
)


class SimGateway(BaseGateway):
    """vnpy's side of the simulated exchange: contracts, positions and ticks. Its methods may be called by any thread.

    Orders may come this way; what becomes of them the exchange's store publishes, without vnpy's objects and events.
    """

    default_name = "SIM"
    default_setting: ClassVar[dict[str, Any]] = {}
    exchanges: ClassVar[list[Exchange]] = [
        Exchange.CFFEX,
        Exchange.SHFE,
        Exchange.DCE,
        Exchange.CZCE,
        Exchange.INE,
        Exchange.GFEX,
    ]

    def __init__(
        self,
        exchange: SimExchange,
        order_ids: SimOrderIds,
        instruments: Callable[[], list[Instrument]],
        event_engine: Any,
        gateway_name: str,
    ) -> None:
        """`instruments` are those that it announces."""
        super().__init__(event_engine, gateway_name)
        self.connected = False
        self._templates: dict[str, dict[str, Any]] = {}
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._exchange = exchange
        self._order_ids = order_ids
        self._instruments = instruments
        self._connection_listeners: list[Callable[[bool], None]] = []
        self._subscribe_listeners: list[Callable[[str], None]] = []

    def on_connection(self, listener: Callable[[bool], None]) -> None:
        """Register a listener of the connection: whether it stands from now on."""
        self._connection_listeners.append(listener)

    def on_subscribe(self, listener: Callable[[str], None]) -> None:
        """Register a listener of symbols that are subscribed."""
        self._subscribe_listeners.append(listener)

    def connect(self, setting: dict[str, Any]) -> None:
        """Announce the contracts, then let the market begin."""
        self._on_loop(self._connect)

    def close(self) -> None:
        """Disconnect: no orders, no ticks. The exchange keeps the book."""
        self._on_loop(self._close)

    def subscribe(self, req: SubscribeRequest) -> None:
        """Every symbol's ticks come anyway; a replay on demand begins with this."""
        for listener in self._subscribe_listeners:
            self._on_loop(listener, req.vt_symbol)

    def send_order(self, req: OrderRequest) -> str:
        """A new order; the same reference again is the same order. Empty when the gateway is not connected."""
        if not self.connected:
            return ""
        return f"{self.gateway_name}.{self.place(request_from_vnpy(req, self.gateway_name))}"

    def place(self, request: Order) -> int:
        """Like `send_order`, without vnpy's objects: the exchange's id of a new order, or of the one it is again."""
        known = self._order_ids.find(request.order_id)
        if known is not None:
            return known
        venue_order_id = self._exchange.new_id()
        self._order_ids.add(request.order_id, venue_order_id, datetime.now(UTC))
        self._on_loop(self._exchange.send, request, venue_order_id)
        return venue_order_id

    def cancel_order(self, req: CancelRequest) -> None:
        """Cancel an order; one that is not open, or never was, changes nothing."""
        if req.orderid.isdigit():
            self._on_loop(self._exchange.cancel, int(req.orderid))

    def query_account(self) -> None:
        """Do nothing: trading has the accounts."""

    def query_position(self) -> None:
        """Send all positions."""
        self._on_loop(self._send_positions)

    def announce(self, instrument: Instrument) -> None:
        """Announce an instrument."""
        self.on_contract(
            ContractData(
                gateway_name=self.gateway_name,
                symbol=instrument.code,
                exchange=Exchange(instrument.exchange),
                name=instrument.name,
                product=Product[instrument.kind],
                size=float(instrument.contract_size),
                pricetick=float(instrument.price_tick),
                min_volume=float(instrument.min_quantity),
            )
        )

    def market(self, quote: Quote) -> None:
        """The exchange's market moved."""
        template = self._templates.get(quote.symbol)
        if template is None:
            template = self._templates[quote.symbol] = self._template(quote.symbol)
        # As TickData() makes it, whose 40 defaults and their check take longer than all the rest.
        tick: TickData = object.__new__(TickData)
        fields = tick.__dict__
        fields.update(template)
        fields.update(
            datetime=_EPOCH + timedelta(microseconds=quote.time_ns // 1000),
            volume=quote.volume,
            turnover=quote.turnover,
            open_interest=quote.open_interest,
            last_price=quote.last_price,
            last_volume=quote.last_quantity,
            limit_up=quote.limit_up,
            limit_down=quote.limit_down,
            open_price=quote.open_price,
            high_price=quote.high_price,
            low_price=quote.low_price,
            pre_close=quote.pre_close_price,
        )
        for side, levels in ((_BIDS, quote.bids), (_ASKS, quote.asks)):
            for names, (price, volume) in zip(side, levels, strict=False):
                fields[names[0]] = price
                fields[names[1]] = volume
        tick.extra = {"trading_day": quote.trading_day, "time_ns": quote.time_ns}
        self.on_tick(tick)

    def _template(self, symbol: str) -> dict[str, Any]:
        """The fields that all ticks of a symbol have."""
        code, _, exchange = symbol.rpartition(".")
        return vars(TickData(self.gateway_name, symbol=code, exchange=Exchange(exchange), datetime=_EPOCH))

    def pass_watermark(self, watermark_ns: int) -> None:
        """No tick from now on is of an earlier time, but for late ones."""
        self.on_event(EVENT_WATERMARK, {self.gateway_name: watermark_ns})

    def feed_ended(self) -> None:
        """The replay has come to its end."""
        self.on_event(EVENT_FEED_ENDED, self.gateway_name)

    def _connect(self) -> None:
        self.connected = True
        for instrument in self._instruments():
            self.announce(instrument)
        # Contracts first, then the account: with it a client of vnpy knows that the gateway is connected.
        self.on_account(AccountData(gateway_name=self.gateway_name, accountid=self.gateway_name))
        self._send_positions()
        self.write_log("SIM is connected")
        for listener in self._connection_listeners:
            listener(True)

    def _close(self) -> None:
        if not self.connected:
            return
        self.connected = False
        for listener in self._connection_listeners:
            listener(False)

    def _send_positions(self) -> None:
        for position in self._exchange.positions.all():
            self.on_position(position_to_vnpy(position))

    def _on_loop(self, function: Callable[..., Any], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)
