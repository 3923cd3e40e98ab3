"""What may happen to trading and its venue.

Each operation is a name and a few small numbers, so that a run can be written down, repeated and made smaller.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal as D
from typing import Any, NamedTuple

from redfire.common.v1 import common_pb2 as common
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as order_pb
from sqlalchemy.exc import OperationalError

from services.kernel.errors import DeadlineExceeded, Internal, RedFireError, Unavailable
from tests.trading.model import checks
from tests.trading.model.exchange import GATEWAYS, LISTINGS, SYMBOLS, VenueOrder
from tests.trading.model.follower import Follower
from tests.trading.model.loop import SimulatedClock, SimulatedLoop, SimulatedWriter
from tests.trading.model.platform import Platform, Run
from tests.trading.model.venue import BAD, GOOD, Venue

USERS = ("u-1", "u-2")
LATELY = 12  # orders among which an operation chooses
SETTLED_S = 150


class Violation(AssertionError):
    """Something that must always hold does not."""


class Op(NamedTuple):
    """An operation: its name, its numbers, and the seed of what chance does until the next one."""

    name: str
    numbers: tuple[int, ...]
    noise: int


@dataclass
class Intent:
    """An order as a client wants it, and what he knows of it."""

    user: str
    account_id: str
    client_order_id: str
    request: Any
    close: bool
    most: D
    order_id: str = ""
    refused: bool = False
    unsure: bool = False
    replaced: list[str] = field(default_factory=list)


class Model:
    """Clients, venue and trading. `steps` counts operations."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.clock = SimulatedClock(loop)
        self.venue = Venue(self.rng, self.clock, self._day())
        self.platform = Platform(loop, self.venue, self.clock)
        self.platform.on_killed = self._killed
        self.venue.exchange.most_of = self._most_of
        self.accounts: list[tuple[str, str, str]] = []  # user, gateway, account
        self.intents: dict[str, Intent] = {}
        self.by_order: dict[str, Intent] = {}
        self.acknowledged: list[str] = []
        self.followers = {user: Follower(user) for user in USERS}
        self.steps = 0
        self.kills = 0
        self.history: list[str] = []
        self.errors = _Errors()
        self._kill_at = 0
        self._write_fails = 0
        self._kill_moment = ""
        self._calls: set[asyncio.Task[Any]] = set()
        SimulatedWriter.latency = staticmethod(lambda: self.rng.random() * self.venue.faults.slow_s * 0.1)
        SimulatedWriter.fault = staticmethod(self._writer_fault)
        loop.after_step = self._after_step

    # Running

    def do(self, coroutine: Any) -> Any:
        """Run one of the model's coroutines to its end."""
        return self.loop.run_until_complete(self.platform.spawn(coroutine))

    async def begin(self) -> None:
        """Start trading and open accounts."""
        logging.getLogger("services").addHandler(self.errors)
        await self.platform.start()
        await self._until_ready()
        for user in USERS:
            for gateway in GATEWAYS:
                answer = await self._run.accounts(user).OpenAccount(
                    account_pb.OpenAccountRequest(display_name=gateway, gateway=gateway, request_id=gateway)
                )
                self.accounts.append((user, gateway, answer.account.account_id))
        self._follow()
        self.platform.spawn(self._ticks())
        self.venue.faults = BAD

    async def end(self) -> None:
        """Stop everything."""
        self.loop.after_step = None
        logging.getLogger("services").removeHandler(self.errors)
        await self.platform.close()

    async def apply(self, op: Op) -> None:
        """Do an operation, and let some time pass."""
        self.steps += 1
        self.rng.seed(op.noise)
        self.history.append(f"{self.loop.time():10.3f} {op.name}{op.numbers}")
        await getattr(self, op.name)(*op.numbers)
        pause = self.rng.random()
        if pause < 0.4:
            for _ in range(self.rng.randint(0, 30)):
                await asyncio.sleep(0)
        elif pause < 0.9:
            await asyncio.sleep(self.rng.random() * 0.4)
        else:
            await asyncio.sleep(self.rng.random() * 8)
        self._raise_violations()

    @property
    def _run(self) -> Run:
        assert self.platform.run is not None
        return self.platform.run

    def _after_step(self) -> None:
        if self._kill_at and self.loop.steps >= self._kill_at:
            self._kill_at = 0
            self.platform.kill()

    def _writer_fault(self, moment: str) -> None:
        if self._kill_moment == moment:
            self._kill_moment = ""
            self.platform.kill()
        if self._write_fails and moment == "before commit":
            self._write_fails -= 1
            raise OperationalError("the disk is full", {}, Exception("the disk is full"))

    def _killed(self) -> None:
        self.kills += 1
        self.venue.listeners.clear()
        self.venue.price_listeners.clear()
        for follower in self.followers.values():
            follower.running = False
        self.history.append(f"{self.loop.time():10.3f} killed")
        self.platform.spawn(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(self.rng.choice([0.01, 0.2, 2.0, 12.0]))
        if self.platform.run is None:
            await self.platform.start()
            self.history.append(f"{self.loop.time():10.3f} started")
            self._follow()

    def _follow(self) -> None:
        run = self.platform.run
        if run is None:
            return
        for follower in self.followers.values():
            if not follower.running:
                follower.running = True
                self._call(follower.follow(run))

    def _call(self, coroutine: Any) -> None:
        task = self.loop.create_task(coroutine)
        self._calls.add(task)
        task.add_done_callback(self._called)

    def _called(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.found.append(f"a client met {error!r}")

    def _raise_violations(self) -> None:
        found = self.venue.exchange.violations + self.errors.found
        if found:
            raise Violation("\n".join(found[:10]))

    def _most_of(self, order_id: str) -> D:
        intent = self.by_order.get(order_id)
        return D("Infinity") if intent is None else intent.most

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(3)
            for symbol in SYMBOLS:
                self.venue.price(symbol, self.venue.prices[symbol])

    async def _until_ready(self) -> None:
        for _ in range(600):
            if self.platform.run is not None and self._run.ready:
                return
            await asyncio.sleep(0.1)
        raise Violation(f"trading is not ready: {self._waiting_for()}")

    def _waiting_for(self) -> str:
        run = self.platform.run
        return "it does not run" if run is None else run.host.lifecycle.waiting_for("trading")

    def _day(self) -> int:
        return int((self.clock.now() + timedelta(hours=8)).strftime("%Y%m%d"))

    # What clients do

    async def create(self, a: int, b: int, c: int, d: int) -> None:
        """An order of some kind."""
        user, gateway, account_id = self.accounts[a % len(self.accounts)]
        symbols = [symbol for symbol in SYMBOLS if LISTINGS[symbol].gateway == gateway]
        symbol = symbols[b % len(symbols)]
        coid = f"c-{len(self.intents)}"
        request = self._order_request(coid, account_id, symbol, b, c, d)
        intent = Intent(user, account_id, coid, request, False, D(request.quantity))
        self.intents[coid] = intent
        self._client(self._create(intent), d)

    def _order_request(self, coid: str, account_id: str, symbol: str, b: int, c: int, d: int) -> Any:
        price, tick = self.venue.prices[symbol], int(LISTINGS[symbol].price_tick)
        side = 1 + b // 2 % 2
        kind = ("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT", "TRAILING_STOP")[c % 7]
        force = ("DAY", "GTC", "DAY", "IOC", "FOK", "GTD", "GTC")[c // 7 % 7]
        if kind == "MARKET" or (kind in ("STOP", "TRAILING_STOP") and force != "GTC"):
            force = "DAY"
        effect = ("OPEN", "CLOSE", "OPEN", "OPEN", "CLOSE_TODAY", "OPEN", "CLOSE_YESTERDAY", "CLOSE")[d % 8]
        away = (d // 5 % 5 - 2) * tick
        request = order_pb.CreateOrderRequest(
            client_order_id=coid, account_id=account_id, symbol=symbol, side=side,
            type=common.OrderType.Value(f"ORDER_TYPE_{kind}"), quantity=str(1 + d % 4),
            time_in_force=common.TimeInForce.Value(f"TIME_IN_FORCE_{force}"),
            position_effect=common.PositionEffect.Value(f"POSITION_EFFECT_{effect}"),
        )  # fmt: skip
        if kind in ("LIMIT", "STOP_LIMIT"):
            request.price = str(price + away)
        if kind in ("STOP", "STOP_LIMIT"):
            request.stop_price = str(price + (3 * tick if side == 1 else -3 * tick))
        if kind == "TRAILING_STOP":
            request.trailing_offset = str(3 * tick)
        if force == "GTD":
            request.expire_time.FromNanoseconds(self.clock.now_ns() + (d % 3 + 1) * 20_000_000_000)
        return request

    async def again(self, a: int) -> None:
        """A client asks again for what he asked for before, perhaps in another life of trading."""
        if self.intents:
            some = list(self.intents.values())[-LATELY:]
            self._client(self._create(some[a % len(some)]), a)

    async def _create(self, intent: Intent) -> None:
        run = self._run
        try:
            if intent.close:
                answer = await run.accounts(intent.user).ClosePosition(intent.request)
            else:
                answer = await run.orders(intent.user).CreateOrder(intent.request)
        except (Unavailable, DeadlineExceeded):
            intent.unsure = True
            raise
        except asyncio.CancelledError:
            intent.unsure = True
            raise
        except RedFireError as refusal:
            if intent.order_id and not isinstance(refusal, Internal):
                self.errors.found.append(f"{intent.client_order_id}: acknowledged, then refused: {refusal!r}")
            intent.refused = True
            raise
        order = answer.order
        if intent.order_id and intent.order_id != order.order_id:
            self.errors.found.append(f"{intent.client_order_id}: two orders, {intent.order_id} and {order.order_id}")
        if not intent.order_id:
            self.acknowledged.append(order.order_id)
        intent.order_id = order.order_id
        intent.most = max(intent.most, D(order.quantity))
        self.by_order[order.order_id] = intent

    async def cancel(self, a: int) -> None:
        """A cancel."""
        if intent := self._some(a):
            self._client(self._run_orders(intent).CancelOrder(order_pb.CancelOrderRequest(order_id=intent.order_id)), a)

    async def replace(self, a: int, b: int, c: int) -> None:
        """Another quantity, another price, or both; of a stop another trigger."""
        intent = self._some(a)
        if intent is None or intent.close:
            return
        request = order_pb.ReplaceOrderRequest(order_id=intent.order_id)
        tick = int(LISTINGS[intent.request.symbol].price_tick)
        if b % 3 != 1:
            request.quantity = str(1 + b % 6)
            intent.most = max(intent.most, D(request.quantity))
        if b % 3 != 0 and intent.request.price:
            request.price = str(int(intent.request.price) + (c % 5 - 2) * tick)
        if not request.price and not request.quantity and intent.request.stop_price:
            request.stop_price = str(int(intent.request.stop_price) + (c % 5 - 2) * tick)
        if request.quantity or request.price or request.stop_price:
            self._client(self._run_orders(intent).ReplaceOrder(request), c)

    async def cancel_all(self, a: int) -> None:
        """All of an account, or all of a user's in one symbol."""
        if self.platform.run is None:
            return
        user, _, account_id = self.accounts[a % len(self.accounts)]
        request = order_pb.CancelAllOrdersRequest(account_id=account_id)
        if a % 3 == 0:
            request = order_pb.CancelAllOrdersRequest(symbol=SYMBOLS[a % len(SYMBOLS)])
        self._client(self._run.orders(user).CancelAllOrders(request), a)

    async def close(self, a: int, b: int) -> None:
        """Close a position, or a part of it."""
        user, gateway, account_id = self.accounts[a % len(self.accounts)]
        symbols = [symbol for symbol in SYMBOLS if LISTINGS[symbol].gateway == gateway]
        coid = f"c-{len(self.intents)}"
        request = account_pb.ClosePositionRequest(
            symbol=symbols[b % len(symbols)], client_order_id=coid, account_id=account_id, side=1 + b // 2 % 2,
            quantity="" if b % 3 else str(1 + b % 2),
        )  # fmt: skip
        intent = Intent(user, account_id, coid, request, True, D(0))
        self.intents[coid] = intent
        self._client(self._create(intent), b)

    async def follow_anew(self, a: int) -> None:
        """A client's stream ends, and resumes or begins anew."""
        follower = self.followers[USERS[a % len(USERS)]]
        if a % 3 == 0:
            follower.forget()
        follower.stop()
        self._follow()

    def _some(self, a: int) -> Intent | None:
        if self.platform.run is None or not self.acknowledged:
            return None
        lately = self.acknowledged[-LATELY:]
        return self.by_order[lately[a % len(lately)]]

    def _run_orders(self, intent: Intent) -> Any:
        return self._run.orders(intent.user)

    def _client(self, call: Awaitable[Any], patience: int) -> None:
        """A client's call, which he may leave before it is answered."""
        if self.platform.run is None:
            close = getattr(call, "close", None)
            if close is not None:
                close()
            return

        async def run() -> None:
            limit_s = self.rng.random() * 0.02 if patience % 7 == 6 else None
            with contextlib.suppress(RedFireError, TimeoutError):
                async with asyncio.timeout(limit_s):
                    await call

        self._call(run())

    # What the market and the venue do

    async def price(self, a: int, b: int) -> None:
        """Prices move."""
        symbol = SYMBOLS[a % len(SYMBOLS)]
        tick = int(LISTINGS[symbol].price_tick)
        self.venue.price(symbol, self.venue.prices[symbol] + (b % 13 - 6) * tick)

    async def fill(self, a: int, b: int) -> None:
        """The venue trades some of an order."""
        orders = [order for order in self.venue.exchange.orders.values() if order.is_open]
        if orders:
            order = orders[a % len(orders)]
            whole = b % 3 == 0
            self.venue.fill(order, order.leaves if whole else D(1 + b % 2))

    async def venue_ends(self, a: int, b: int) -> None:
        """The venue ends an order by itself."""
        orders = [order for order in self.venue.exchange.orders.values() if order.is_open]
        if orders:
            order = orders[a % len(orders)]
            self.venue.end(order, (common.ORDER_STATUS_CANCELED, common.ORDER_STATUS_EXPIRED)[b % 2])

    async def foreign(self, a: int, b: int) -> None:
        """Somebody else trades on our line."""
        symbol = SYMBOLS[a % len(SYMBOLS)]
        order = VenueOrder(
            "", self.venue.exchange.next_id("x"), LISTINGS[symbol].gateway, symbol, 1 + b % 2, common.ORDER_TYPE_LIMIT,
            common.TIME_IN_FORCE_DAY, common.POSITION_EFFECT_OPEN, D(2), D(self.venue.prices[symbol]),
        )  # fmt: skip
        self.venue.exchange.accept(order)
        self.venue.tell_order(order)
        if b % 3 == 0:
            self.venue.fill(order, D(1 + b % 2))

    async def day(self, a: int) -> None:
        """The next trading day begins."""
        local = self.clock.now() + timedelta(hours=8)
        following = local + timedelta(days=3 if local.weekday() == 4 else 1)
        morning = following.replace(hour=9, minute=30, second=0, microsecond=0)
        self.clock.advance((morning - local).total_seconds())
        self.venue.begin_day(self._day())

    async def line(self, a: int, b: int) -> None:
        """A gateway is cut from its venue for a while."""
        name = GATEWAYS[a % len(GATEWAYS)]
        if not self.venue.up or not self.venue.connected[name]:
            return
        self.venue.connect(name, False)

        async def again() -> None:
            await asyncio.sleep(self.rng.choice([0.05, 1.0, 8.0]))
            if not self.venue.connected[name]:
                self.venue.connect(name, True)

        self.platform.spawn(again())

    async def faults(self, a: int) -> None:
        """The lines get bad, or good."""
        self.venue.faults = BAD if a % 3 else GOOD

    async def streams(self) -> None:
        """The engine's event stream breaks."""
        self.venue.drop_streams()

    async def engine(self, a: int) -> None:
        """The engine stops for a while; its exchange does not."""
        if not self.venue.up:
            return
        self.venue.stop()

        async def again() -> None:
            await asyncio.sleep(self.rng.choice([0.05, 1.0, 8.0]))
            if not self.venue.up:
                self.venue.start()

        self.platform.spawn(again())

    # What happens to trading

    async def kill(self, a: int) -> None:
        """Trading is killed, so many callbacks from now."""
        self._kill_at = self.loop.steps + a

    async def kill_at_commit(self, a: int) -> None:
        """Trading is killed just before or after the next commit."""
        self._kill_moment = ("before commit", "after commit")[a % 2]

    async def write_fails(self, a: int) -> None:
        """The next transactions cannot be written."""
        self._write_fails = 1 + a % 2

    # Settling

    async def settle(self, a: int = 1) -> None:
        """All is well again, for long enough; then everything must agree."""
        self._kill_at = self._write_fails = 0
        self._kill_moment = ""
        usual, self.venue.faults = self.venue.faults, GOOD
        if not self.venue.up:
            self.venue.start()
        for name in GATEWAYS:
            if not self.venue.connected[name]:
                self.venue.connect(name, True)
        found = ["it never became ready"]
        before: Any = None
        for second in range(SETTLED_S):
            await asyncio.sleep(1)
            self._raise_violations()
            self._follow()
            if self.platform.run is None or not self._run.ready or second < 13:
                continue
            found = await checks.problems(self)
            if not found:
                break
        if found:
            raise Violation("\n".join(found[:20]))
        if a % 2:
            soon_ns = max((o.expire_time.ToNanoseconds() for o in (await checks.read(self)).open.values()), default=0)
            left_s = (soon_ns - self.clock.now_ns()) / 1e9 + 8
            if left_s > 0:  # what expired a moment ago may not be noticed yet
                await asyncio.sleep(left_s)
            before = await checks.dump(self)
            self.platform.kill()
            await asyncio.sleep(15)
            await self._until_ready()
            await asyncio.sleep(12)
            after = await checks.dump(self)
            if changed := checks.differences(before, after):
                raise Violation("a restart changed:\n" + "\n".join(changed[:10]))
            if found := await checks.problems(self):
                raise Violation("after a restart:\n" + "\n".join(found[:20]))
        self._raise_violations()
        self.venue.faults = usual


class _Errors(logging.Handler):
    """Errors of trading that nobody made happen."""

    EXPECTED = ("cannot be written", "could not be written", "books are read anew")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(part in text for part in self.EXPECTED):
            return
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        self.found.append(text)
