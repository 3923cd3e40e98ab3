"""The engine before the model's exchange, as trading reaches it."""

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

from google.protobuf import timestamp_pb2
from redfire.common.v1 import common_pb2 as common
from redfire.engine.v1 import engine_pb2, engine_pb2_grpc
from redfire.reasons import Reason

from services.kernel.errors import FailedPrecondition, NotFound, Unavailable
from services.kernel.rpc.silence import HEARTBEAT_S
from services.quant.calendar import Calendar
from tests.harness import complete
from tests.heartbeats import beating
from tests.simulated_time import SimulatedClock
from tests.trading.fakes import at_once
from tests.trading.model.exchange import GATEWAYS, KEEPS_ORDERS, LISTINGS, Exchange, FillReport, VenueOrder, VenueTrade
from tests.trading.model.line import Line
from tests.trading.model.market import Market

CALENDAR = Calendar.load()
MATCHED_AT_ONCE = (common.TIME_IN_FORCE_IOC, common.TIME_IN_FORCE_FOK)


class Venue:
    """One engine process after the other, before one exchange."""

    def __init__(self, rng: random.Random, clock: SimulatedClock) -> None:
        self.rng, self.clock = rng, clock
        self.line, self.market = Line(rng), Market(rng, clock)
        self.exchange = Exchange(CALENDAR.chinese_trading_day(clock.now_ns()))
        # It dies with the next order for TTS, and does not know afterwards which one that is.
        self.forgets_next = False
        self.on_stopped: Callable[[], None] = lambda: None
        self.connected = dict.fromkeys(GATEWAYS, True)
        # When it last did what trading could not know before its report.
        self.surprised_at = -100.0
        # Orders that trading gave up, by the engine's run, in which they are refused.
        self.given_up: set[tuple[Any, str]] = set()

    def connect(self, gateway: str, connected: bool) -> None:
        self.connected[gateway] = connected
        # The engine's own word: never late.
        self.line.publish(engine_pb2.StreamEventsResponse(gateway=self.gateway(gateway)), self.line.run)

    def gateway(self, name: str) -> engine_pb2.Gateway:
        status = "CONNECTED" if self.connected[name] else "DISCONNECTED"
        in_force = [common.TIME_IN_FORCE_DAY, *MATCHED_AT_ONCE]
        if name in KEEPS_ORDERS:
            in_force += [common.TIME_IN_FORCE_GTC, common.TIME_IN_FORCE_GTD]
        return engine_pb2.Gateway(
            gateway_name=name, status=f"GATEWAY_STATUS_{status}", simulated=True, time_in_forces=in_force,
            keeps_order_ids=name in KEEPS_ORDERS, exchanges=sorted({s.split(".")[1] for s in LISTINGS}),
        )  # fmt: skip

    # What happens at the exchange

    def order_update(self, order: VenueOrder, **more: Any) -> engine_pb2.OrderUpdate:
        update = engine_pb2.OrderUpdate(
            gateway_name=order.gateway, order_id="" if order.anonymous else order.reference,
            venue_order_id=order.venue_order_id, symbol=order.symbol, side=order.side, position_effect=order.effect,
            quantity=str(order.quantity), price="" if order.price is None else str(order.price),
            cumulative_quantity=str(order.filled), status=order.status, reason=order.reason, message=order.message,
            type=order.type, **more,
        )  # fmt: skip
        update.time.FromNanoseconds(self.clock.now_ns())
        return update

    def trade_update(self, report: FillReport) -> engine_pb2.TradeUpdate:
        trade = report.trade
        order = self.exchange.orders[trade.venue_order_id]
        update = engine_pb2.TradeUpdate(
            gateway_name=trade.gateway, order_id="" if order.anonymous else trade.reference,
            venue_order_id=trade.venue_order_id, venue_trade_id=trade.venue_trade_id, symbol=trade.symbol,
            side=trade.side, position_effect=trade.effect, price=str(report.price), quantity=str(report.quantity),
            trading_day=trade.trading_day, kind=report.kind,
        )  # fmt: skip
        update.time.FromNanoseconds(trade.time_ns)
        return update

    def report_order(self, order: VenueOrder, **more: Any) -> None:
        self.line.report(order=self.order_update(order, **more))

    def fill(self, order: VenueOrder, quantity: D) -> None:
        """Trade some of an order and report it, in either order."""
        if not order.is_open or quantity <= 0:
            return
        price = order.price if order.price is not None else D(self.market.prices[order.symbol])
        if order.price is not None and self.line.chance(0.2):
            price += -1 if order.side == common.SIDE_BUY else 1  # better than asked for
        trade = self.trade_update(self.exchange.fill(order, quantity, price, self.clock.now_ns()))
        if self.line.chance(0.5):
            self.line.report(trade=trade)
            self.report_order(order)
        else:
            self.report_order(order)
            self.line.report(trade=trade)

    def end(self, order: VenueOrder, status: int, reason: int = 0, message: str = "") -> None:
        if self.exchange.end(order, status, reason, message):
            self.report_order(order)

    def bust(self, trade: VenueTrade, corrects: bool) -> None:
        """Take a trade back, or give it another price."""
        self.surprised_at = self.clock.monotonic()
        price = trade.price + self.rng.randint(1, 3)
        report = self.exchange.correct(trade, price) if corrects else self.exchange.bust(trade)
        self.line.count("corrections" if corrects else "busts")
        self.line.report(trade=self.trade_update(report))

    def is_trading(self, symbol: str) -> bool:
        """SIM trades round the clock, TTS in its sessions."""
        return LISTINGS[symbol].gateway in KEEPS_ORDERS or CALENDAR.takes_orders(symbol, self.clock.now_ns())

    def time_has_passed(self) -> None:
        """The clock went on: sessions may be over, and another trading day may have begun, reported or not."""
        now_ns = self.clock.now_ns()
        for order in self.exchange.orders.values():
            if order.gateway not in KEEPS_ORDERS and order.is_open:
                end_ns = CALENDAR.day_end_ns(order.symbol, self.exchange.trading_day)
                if now_ns >= end_ns and self.line.chance(0.7):
                    self.end(order, common.ORDER_STATUS_CANCELED)
        self.surprised_at = self.clock.monotonic()
        trading_day = CALENDAR.chinese_trading_day(now_ns)
        if trading_day == self.exchange.trading_day:
            return
        for order in self.exchange.begin_day(trading_day, now_ns):
            self.report_order(order)
        if self.line.chance(0.7):
            for name in GATEWAYS:
                self.line.report(trading_day=engine_pb2.TradingDayUpdate(gateway_name=name, trading_day=trading_day))

    def send(self, request: engine_pb2.SendOrderRequest) -> engine_pb2.SendOrderResponse:
        forgets = self.forgets_next and request.gateway_name not in KEEPS_ORDERS
        known = self.exchange.by_reference.get(request.order_id)
        if known is not None:
            self.exchange.violations.append(f"sent twice: {request.order_id}")
            return engine_pb2.SendOrderResponse(venue_order_id=known.venue_order_id)
        if (self.line.run, request.order_id) in self.given_up:
            self.line.count("given up, and came late")
            raise FailedPrecondition("it was given up", reason=Reason.NOT_SENT)
        if not self.connected[request.gateway_name]:
            raise FailedPrecondition("the line is cut", reason=Reason.GATEWAY_DISCONNECTED)
        if not self.is_trading(request.symbol):
            raise FailedPrecondition("the market is closed", reason=Reason.MARKET_CLOSED)
        if self.line.chance(self.line.faults.refuse):
            raise FailedPrecondition("the gateway refuses", reason=Reason.GATEWAY_REJECTED)
        if LISTINGS[request.symbol].gateway != request.gateway_name:
            self.exchange.violations.append(f"{request.symbol} sent to {request.gateway_name}")
        order = VenueOrder(
            request.order_id, self.exchange.next_id("v"), request.gateway_name, request.symbol, request.side,
            request.type, request.time_in_force, request.position_effect, D(request.quantity),
            D(request.price) if request.price else None, request.account_id,
            request.expire_time.ToNanoseconds() if request.HasField("expire_time") else 0,
        )  # fmt: skip
        if order.time_in_force not in self.gateway(order.gateway).time_in_forces:
            self.line.count("unsupported time in force")
        loop = asyncio.get_running_loop()
        order.anonymous = forgets
        if refusal := self.exchange.accept(order):
            self.line.count("closes refused")
            # A bust, or the new day, may not have reached trading yet.
            if self.clock.monotonic() - self.surprised_at > 30:
                self.exchange.violations.append(f"refused a close: {order}")
            order.message = refusal
            self.report_order(order)
        elif self.line.chance(self.line.faults.refuse) or (request.post_only and self.line.chance(0.3)):
            loop.call_later(self.rng.random(), self.end, order, common.ORDER_STATUS_REJECTED, 0, "refused later")
        else:
            self.report_order(order)
            if order.type == common.ORDER_TYPE_MARKET or order.time_in_force in MATCHED_AT_ONCE:
                loop.call_later(self.rng.random() * 0.2, self.match, order)
        if forgets:
            self.forgets_next = False
            self.line.count("forgotten")
            self.line.stop()
            self.on_stopped()
        return engine_pb2.SendOrderResponse(venue_order_id=order.venue_order_id)

    def match(self, order: VenueOrder) -> None:
        """The kinds that never rest."""
        if order.time_in_force == common.TIME_IN_FORCE_FOK:
            part = order.leaves if self.line.chance(0.5) else D(0)
        else:
            part = D(self.rng.randint(0, int(order.leaves)))
        if order.type == common.ORDER_TYPE_MARKET and self.line.chance(0.7):
            part = order.leaves
        self.fill(order, part)
        self.end(order, common.ORDER_STATUS_CANCELED)

    def cancel(self, request: engine_pb2.CancelOrderRequest) -> engine_pb2.CancelOrderResponse:
        order = self.exchange.by_reference.get(request.order_id)
        if not self.connected[request.gateway_name]:
            raise FailedPrecondition("the line is cut", reason=Reason.GATEWAY_DISCONNECTED)
        if order is None or order.anonymous:
            order = self.exchange.orders.get(request.venue_order_id)
        if order is None:
            raise NotFound("order", request.order_id)
        delay_s = self.rng.random() * self.line.faults.slow_s
        asyncio.get_running_loop().call_later(delay_s, self.end, order, common.ORDER_STATUS_CANCELED)
        return engine_pb2.CancelOrderResponse()

    def amend(self, request: engine_pb2.AmendOrderRequest) -> engine_pb2.AmendOrderResponse:
        if request.gateway_name not in KEEPS_ORDERS:
            raise FailedPrecondition("this venue amends nothing", reason=Reason.UNSUPPORTED)
        if not self.connected[request.gateway_name]:
            raise FailedPrecondition("the line is cut", reason=Reason.GATEWAY_DISCONNECTED)
        order = self.exchange.by_reference.get(request.order_id)
        if order is None:
            raise NotFound("order", request.order_id)
        price = D(request.price) if request.price else None

        def change() -> None:
            done = self.exchange.amend(order, D(request.quantity), price)
            self.report_order(order, amend_rejected=not done)

        asyncio.get_running_loop().call_later(self.rng.random() * self.line.faults.slow_s, change)
        return engine_pb2.AmendOrderResponse()

    def query(self, request: engine_pb2.QueryStateRequest) -> engine_pb2.QueryStateResponse:
        exchange, gateway, asked = self.exchange, request.gateway_name, set(request.order_ids)
        whole = self.connected[gateway] and not self.line.chance(self.line.faults.incomplete)
        orders = [
            order
            for order in exchange.orders.values()
            if order.gateway == gateway
            and (order.is_open or (order.reference in asked and not order.anonymous and not self._is_forgotten(order)))
        ]
        of_day = [
            report
            for report in exchange.tape
            if report.trade.gateway == gateway
            # Reported for longer: what is taken back, as nobody asks for an order that is over, and what has no
            # reference that could be asked for.
            and (
                report.trade.trading_day == exchange.trading_day
                or report.kind != engine_pb2.TRADE_UPDATE_KIND_NEW
                or not report.trade.reference
                or exchange.orders[report.trade.venue_order_id].anonymous
            )
        ]
        if not whole:
            orders, of_day = orders[::2], of_day[: len(of_day) // 2]
        names = {order.venue_order_id for order in orders if order.reference in asked}
        start = int(request.trades_cursor.partition("@")[0]) if request.trades_cursor.endswith(self._cursor()) else 0
        size = 3 if self.line.chance(0.3) else 2000
        page = of_day[start : start + size]
        page += [report for report in exchange.tape if report.trade.venue_order_id in names and report not in page]
        positions = [
            engine_pb2.PositionUpdate(
                gateway_name=gateway, symbol=symbol, side=side, quantity=str(holding.today + holding.yesterday),
                yesterday_quantity=str(holding.yesterday),
            )
            for (symbol, side), holding in exchange.holdings.items()
            if LISTINGS[symbol].gateway == gateway
        ]  # fmt: skip
        anonymous = [name for name in request.order_ids if name in exchange.by_reference]
        refused = [name for name in request.give_up_order_ids if name not in exchange.by_reference]
        self.given_up.update((self.line.run, name) for name in refused)
        return engine_pb2.QueryStateResponse(
            sequence=self.line.sequence, epoch=self.line.epoch, orders=[self.order_update(order) for order in orders],
            trades=[self.trade_update(report) for report in page], positions=positions,
            trading_day=exchange.trading_day, complete=whole, more_trades=start + size < len(of_day),
            next_trades_cursor=f"{min(start + size, len(of_day))}{self._cursor()}",
            uncertain_order_ids=[name for name in anonymous if exchange.by_reference[name].anonymous],
            refused_order_ids=refused,
        )  # fmt: skip

    def _is_forgotten(self, order: VenueOrder) -> bool:
        """TTS knows nothing of an earlier day's orders, but what they traded."""
        return order.gateway not in KEEPS_ORDERS and not order.filled and order.day < self.exchange.trading_day

    def _cursor(self) -> str:
        return f"@{self.exchange.trading_day}/{self.line.epoch}"


@complete
class EngineApi(engine_pb2_grpc.EngineServiceServicer):
    """EngineService, as one run of trading reaches it."""

    def __init__(self, venue):
        self.venue = venue

    async def SendOrder(self, request, call):
        return await self.venue.line.request(lambda: self.venue.send(request))

    async def CancelOrder(self, request, call):
        return await self.venue.line.request(lambda: self.venue.cancel(request))

    async def AmendOrder(self, request, call):
        return await self.venue.line.request(lambda: self.venue.amend(request))

    async def QueryState(self, request, call):
        return await self.venue.line.request(lambda: self.venue.query(request))

    async def ListGateways(self, request, call):
        gateways = [self.venue.gateway(name) for name in GATEWAYS]
        return await self.venue.line.request(lambda: engine_pb2.ListGatewaysResponse(gateways=gateways))

    async def StreamEvents(self, request, call):
        line = self.venue.line
        await asyncio.sleep(line.rng.random() * line.faults.slow_s)
        if not line.up:
            raise Unavailable("the engine is down")
        queue = asyncio.Queue()
        resumed = request.epoch == line.epoch
        missed = [e for e in line.log if resumed and e.sequence > request.resume_after_sequence]
        sequence = request.resume_after_sequence if resumed else line.sequence
        line.listeners.append(queue)
        try:
            yield engine_pb2.StreamEventsResponse(
                started=engine_pb2.StreamEventsResponse.Started(epoch=line.epoch, resumed=resumed, sequence=sequence)
            )
            yield missed
            beat = engine_pb2.StreamEventsResponse(heartbeat=timestamp_pb2.Timestamp())
            async with beating(queue, beat, HEARTBEAT_S):
                while messages := await at_once(queue):
                    if messages != [beat] and line.chance(0.3):
                        await asyncio.sleep(line.rng.random() * line.faults.slow_s)
                    yield messages
        finally:
            if queue in line.listeners:
                line.listeners.remove(queue)
