"""Stand-ins for trading's peers: a venue with scripted faults, a market whose prices are set, a risk that refuses."""

import asyncio
from decimal import Decimal as D

from google.protobuf import timestamp_pb2
from redfire.common.v1 import common_pb2, error_reason_pb2
from redfire.engine.v1 import engine_pb2, engine_pb2_grpc
from redfire.market.v1 import calendar_service_pb2_grpc, market_pb2, market_pb2_grpc
from redfire.reasons import Reason
from redfire.risk.v1 import risk_pb2, risk_pb2_grpc

from services.kernel.errors import FailedPrecondition, NotFound, Unavailable
from services.kernel.identifiers import new_id
from tests.harness import FakeService, complete
from tests.heartbeats import beating

SYMBOL = "IF2606.CFFEX"
OTHER = "rb2610.SHFE"
HEARTBEAT_S = 5.0


async def at_once(queue):
    """Take all that a queue has, at least one; up to a None, before which the last list is empty."""
    messages = [await queue.get()]
    while messages[-1] is not None and not queue.empty():
        messages.append(queue.get_nowait())
    if messages[-1] is None and messages.pop() is None and messages:
        queue.put_nowait(None)
    return messages


@complete
class FakeEngine(engine_pb2_grpc.EngineServiceServicer):
    """A gateway SIM that keeps orders like a real one. `before_send` and `after_send` may raise."""

    def __init__(self):
        self.epoch = new_id()
        self.sequence = 0
        self.events = []
        self.listeners = set()
        self.orders = {}
        self.trades = []
        self.sends = []
        self.traces = []  # of each send
        self.gateways = ["SIM"]
        self.cancels = []
        self.queries = 0
        self.connected = True
        self.simulated = True
        self.recorded = False
        self.time_in_forces = [1, 2, 3, 4, 5]
        self.ack = True
        self.refuses_given_up = False  # as engines of before do
        self.hangs = False  # streams are open, and nothing comes, not even heartbeats
        self.can_amend = True
        self.complete = True
        self.trading_day = 20260105
        self.before_send = None
        self.before_query = None
        self.after_send = None
        self.auto_cancel = True
        # Orders that may be at the venue though the gateway does not show them.
        self.hidden = set()
        self.positions = []
        self.trades_at_once = 2000
        # Epochs of shards below which the caller owns them no more; and those of the last order.
        self.stale_epochs = {}
        self.last_fence = (0, 0)

    # What a test does

    def emit(self, **event):
        self.sequence += 1
        if "gateway" in event:  # it always reports all of itself, and the same when it is asked
            self.connected = event["gateway"]["status"] == engine_pb2.GATEWAY_STATUS_CONNECTED
            event["gateway"] = {
                "simulated": self.simulated, "recorded": self.recorded, "time_in_forces": self.time_in_forces,
                **event["gateway"],
            }  # fmt: skip
        message = engine_pb2.StreamEventsResponse(sequence=self.sequence, **event)
        self.events.append(message)
        for queue in self.listeners:
            queue.put_nowait(message)

    def drop_streams(self):
        for queue in self.listeners:
            queue.put_nowait(None)

    def update(self, order_id, status, silent=False, **over):
        order = self.orders[order_id]
        order.status = getattr(common_pb2, f"ORDER_STATUS_{status}")
        for name, value in over.items():
            setattr(order, name, value)
        if not silent:
            self.emit(order=order)

    def fill(self, order_id, quantity, price, trade_id="", silent=False):
        order = self.orders[order_id]
        trade = engine_pb2.TradeUpdate(
            gateway_name=order.gateway_name, order_id=order_id, venue_order_id=order.venue_order_id,
            venue_trade_id=trade_id or new_id(), symbol=order.symbol, side=order.side,
            position_effect=order.position_effect, price=str(price), quantity=str(quantity),
            time=timestamp_pb2.Timestamp(seconds=1_700_000_000), trading_day=self.trading_day,
        )  # fmt: skip
        self.trades.append(trade)
        done = D(order.cumulative_quantity or "0") + D(str(quantity))
        order.cumulative_quantity = str(done)
        full = done >= D(order.quantity)
        if not silent:
            self.emit(trade=trade)
        self.update(order_id, "FILLED" if full else "PARTIALLY_FILLED", silent)
        return trade

    # EngineService

    async def SendOrder(self, request, call):
        if request.epoch < self.stale_epochs.get(request.shard, 0):
            raise FailedPrecondition("another replica serves the user", reason=Reason.STALE_EPOCH)
        self.last_fence = request.shard, request.epoch
        if self.before_send:
            await self.before_send(request)
        if request.order_id not in self.orders:
            self.sends.append(request)
            self.traces.append(call.trace_id)
            self.orders[request.order_id] = engine_pb2.OrderUpdate(
                gateway_name=request.gateway_name, order_id=request.order_id, venue_order_id=f"v{len(self.orders)}",
                symbol=request.symbol, side=request.side, position_effect=request.position_effect,
                quantity=request.quantity, price=request.price, cumulative_quantity="0",
                status=common_pb2.ORDER_STATUS_PENDING_NEW,
            )  # fmt: skip
            if self.ack:
                self.update(request.order_id, "NEW")
        if self.after_send:
            await self.after_send(request)
        return engine_pb2.SendOrderResponse(venue_order_id=self.orders[request.order_id].venue_order_id)

    async def CancelOrder(self, request, call):
        self.cancels.append(request.order_id)
        order = self.orders.get(request.order_id)
        if order is None:
            raise NotFound("order", request.order_id)
        if self.auto_cancel and order.status in (1, 2, 3):
            self.update(request.order_id, "CANCELED")
        return engine_pb2.CancelOrderResponse()

    async def AmendOrder(self, request, call):
        if not self.can_amend:
            raise FailedPrecondition("cannot", reason=Reason.UNSUPPORTED)
        order = self.orders[request.order_id]
        order.quantity, order.price = request.quantity, request.price
        self.emit(order=order)
        return engine_pb2.AmendOrderResponse()

    async def ListGateways(self, request, call):
        status = engine_pb2.GATEWAY_STATUS_CONNECTED if self.connected else engine_pb2.GATEWAY_STATUS_DISCONNECTED
        return engine_pb2.ListGatewaysResponse(
            gateways=[
                engine_pb2.Gateway(
                    gateway_name=name,
                    status=status,
                    simulated=self.simulated,
                    recorded=self.recorded,
                    time_in_forces=self.time_in_forces,
                )
                for name in self.gateways
            ]
        )

    async def QueryState(self, request, call):
        self.queries += 1
        if self.before_query:
            await self.before_query(request)
        asked = set(request.order_ids)
        mine = [o for o in self.orders.values() if o.gateway_name == request.gateway_name]
        orders = [o for o in mine if o.order_id in asked or o.status in (1, 2, 3)]
        # The day's trades after the cursor, of all orders, a few at a time, and all of the asked orders.
        days = [
            (n, t)
            for n, t in enumerate(self.trades)
            if t.trading_day == self.trading_day and t.gateway_name == request.gateway_name
        ]
        epoch, _, start = request.trades_cursor.partition(":")
        rest = [(n, t) for n, t in days if n >= (int(start) if epoch == self.epoch else 0)]
        page = rest[: self.trades_at_once]
        older = [t for t in self.trades if t.order_id in asked and t not in [p for _, p in page]]
        end = page[-1][0] + 1 if page else len(self.trades)
        return engine_pb2.QueryStateResponse(
            sequence=self.sequence, epoch=self.epoch, orders=[o for o in orders if o.order_id not in self.hidden],
            trades=[t for _, t in page] + older, trading_day=self.trading_day, complete=self.complete,
            next_trades_cursor=f"{self.epoch}:{end}", more_trades=len(rest) > len(page),
            uncertain_order_ids=sorted(asked & self.hidden), positions=self.positions,
            refused_order_ids=[o for o in request.give_up_order_ids if self.refuses_given_up and o not in self.orders],
        )  # fmt: skip

    async def StreamEvents(self, request, call):
        queue = asyncio.Queue()
        resumed = request.epoch == self.epoch
        missed = [e for e in self.events if resumed and e.sequence > request.resume_after_sequence]
        self.listeners.add(queue)
        try:
            started = engine_pb2.StreamEventsResponse.Started(
                epoch=self.epoch, resumed=resumed, sequence=request.resume_after_sequence if resumed else self.sequence
            )
            yield engine_pb2.StreamEventsResponse(started=started)
            yield missed
            beat = engine_pb2.StreamEventsResponse(heartbeat=timestamp_pb2.Timestamp())
            async with beating(queue, beat, HEARTBEAT_S):
                while messages := await at_once(queue):
                    if not self.hangs:
                        yield messages
        finally:
            self.listeners.discard(queue)


@complete
class FakeMarket(market_pb2_grpc.MarketServiceServicer):
    """Two instruments and their last prices."""

    def __init__(self):
        self.prices = {SYMBOL: 4000.0, OTHER: 3500.0}
        self.books = {}
        self.gateway = self.tick_gateway = "SIM"
        self.listeners = set()

    def quote(self, symbol, bid, ask):
        self.books[symbol] = (bid, ask)
        self.price(symbol, self.prices[symbol])

    def price(self, symbol, price):
        self.prices[symbol] = price
        for queue, symbols in self.listeners:
            if symbol in symbols:
                queue.put_nowait(market_pb2.StreamTicksResponse(ticks=[self.tick(symbol)]))

    def tick(self, symbol):
        price = self.prices[symbol]
        bid, ask = self.books.get(symbol, (0.0, 0.0))
        return market_pb2.Tick(
            symbol=symbol, last_price=price, limit_up=round(price * 1.1, 1), limit_down=round(price * 0.9, 1),
            gateway=self.tick_gateway, bid_prices=[bid] if bid else [], ask_prices=[ask] if ask else [],
        )  # fmt: skip

    def instrument(self, symbol):
        size, tick = ("300", "0.2") if symbol == SYMBOL else ("10", "1")
        return market_pb2.Instrument(
            symbol=symbol, exchange=symbol.split(".")[1], contract_size=size, price_tick=tick, min_quantity="1",
            quantity_step="1", margin_rate="0.12", commission_rate="0.000023", close_today_commission_rate="0.000345",
            currency="CNY", gateway_name=self.gateway,
        )  # fmt: skip

    async def ListInstruments(self, request, call):
        return market_pb2.ListInstrumentsResponse(instruments=[self.instrument(s) for s in self.prices])

    async def GetInstrument(self, request, call):
        if request.symbol not in self.prices:
            raise NotFound("instrument", request.symbol)
        return market_pb2.GetInstrumentResponse(instrument=self.instrument(request.symbol))

    async def GetTick(self, request, call):
        return market_pb2.GetTickResponse(tick=self.tick(request.symbol))

    async def StreamTicks(self, request, call):
        queue = asyncio.Queue()
        entry = (queue, frozenset(request.symbols))
        self.listeners.add(entry)
        try:
            for symbol in request.symbols:
                yield market_pb2.StreamTicksResponse(ticks=[self.tick(symbol)])
            beat = market_pb2.StreamTicksResponse(heartbeat=market_pb2.StreamTicksResponse.Heartbeat())
            async with beating(queue, beat, HEARTBEAT_S):
                while True:
                    yield await queue.get()
        finally:
            self.listeners.discard(entry)


@complete
class FakeRisk(risk_pb2_grpc.RiskServiceServicer):
    """Lets everything through until set otherwise."""

    def __init__(self):
        self.refuse = None
        self.cancel_first = []
        self.down = False
        self.hold = None
        self.checks = []
        self.released = []
        self.refused_types = (1, 2, 3, 4, 5)
        self.cancel_checks = []
        self.keep = ""

    async def CheckCancel(self, request, call):
        self.cancel_checks.append(request.order_id)
        if self.keep in (request.order_id, "all"):
            reason = error_reason_pb2.RISK_LIMIT_MAX_CANCELS_PER_DAY
            return risk_pb2.CheckCancelResponse(violations=[risk_pb2.RiskViolation(reason=reason, message="no")])
        return risk_pb2.CheckCancelResponse()

    async def ReleaseOrders(self, request, call):
        self.released += request.order_ids
        return risk_pb2.ReleaseOrdersResponse()

    async def CheckOrder(self, request, call):
        self.checks.append(request)
        if self.hold:
            await self.hold()
        if self.down:
            raise Unavailable("risk is down")
        if self.refuse and request.type in self.refused_types:
            reason = error_reason_pb2.ErrorReason.Value(self.refuse)
            return risk_pb2.CheckOrderResponse(violations=[risk_pb2.RiskViolation(reason=reason, message="no")])
        return risk_pb2.CheckOrderResponse(cancel_first_order_ids=self.cancel_first)


@complete
class FakeCalendar(calendar_service_pb2_grpc.CalendarServiceServicer):
    """A calendar that no test queries."""


class Peers:
    """The fakes of one platform."""

    def __init__(self):
        self.engine, self.market, self.risk = FakeEngine(), FakeMarket(), FakeRisk()

    def fakes(self):
        return {
            "engine": FakeService(lambda process: [self.engine]),
            "market": FakeService(lambda process: [self.market, FakeCalendar()]),
            "risk": FakeService(lambda process: [self.risk], calls=["trading"]),
        }
