"""The model: clients, trading, and a world in which everything goes wrong.

An operation is a name and a few small numbers: a run of them is written down, repeated, and made smaller.
"""

import asyncio
import logging
import random
from typing import Any

from redfire.trading.v1 import account_service_pb2 as account_pb
from sqlalchemy.exc import OperationalError

from tests.simulated_time import SimulatedClock, SimulatedLoop
from tests.trading.model import checks, disk, restarts
from tests.trading.model.base import USERS, Op, Violation
from tests.trading.model.exchange import GATEWAYS, SYMBOLS
from tests.trading.model.follower import Follower
from tests.trading.model.groups import Groups
from tests.trading.model.line import BAD, GOOD
from tests.trading.model.loop import SimulatedWriter
from tests.trading.model.platform import Platform
from tests.trading.model.venue import Venue
from tests.trading.model.world import World

# A hanging call ends after 5 s, reconciliation asks every 5 s: sooner nothing can be settled.
SETTLED_FROM_S, SETTLED_S = 13, 150


class Model(Groups, World):
    """Clients, venue and trading. `steps` counts operations."""

    def __init__(self, loop: SimulatedLoop, seed: int) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.clock = SimulatedClock(loop)
        self.venue = Venue(self.rng, self.clock)
        self.venue.exchange.most_of = self.most_of
        self.venue.on_stopped = self._start_engine
        # In one run of four the exchanges' hours are kept, and positions are settled daily.
        self.platform = Platform(loop, self.venue, self.clock, keeps_hours=seed % 4 == 3)
        self.platform.on_killed = self._killed
        self.venue.exchange.siblings_of = self._siblings_of
        self.accounts, self.groups = [], []
        self.intents, self.by_order, self.acknowledged = {}, {}, []
        self.followers = {user: Follower(user) for user in USERS}
        self.steps = self.kills = 0
        self.history: list[str] = []
        self.errors = _Errors()
        self.errors_seen = self.errors.messages
        self.kill_at = self.writes_to_fail = 0
        self.kill_moment = ""
        SimulatedWriter.latency = staticmethod(lambda: self.rng.random() * self.venue.line.faults.slow_s * 0.1)
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
                request = account_pb.OpenAccountRequest(display_name=gateway, gateway=gateway, request_id=gateway)
                account = (await self.run.accounts(user).OpenAccount(request)).account
                self.accounts.append((user, gateway, account.account_id))
        self.follow()
        self.platform.spawn(self._ticks())
        self.venue.line.faults = BAD

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

    def most_of(self, order_id: str) -> Any:
        intents = [self.by_order[one] for one in {order_id, *self._siblings_of(order_id)} if one in self.by_order]
        # An exit stands for what its entry has filled, which may have been given another quantity.
        return max((one.most for one in intents), default=float("inf"))

    def _siblings_of(self, order_id: str) -> set[str]:
        """The other orders of its group: those that were asked for, and exits that were opened anew."""
        intent = self.by_order.get(order_id)
        if intent is not None and intent.group is None:
            return set()
        asked = {one.order_id for one in intent.group.intents} if intent is not None and intent.group else set()
        return (asked | disk.group_of(self.platform.folder, order_id)) - {order_id, ""}

    async def _ticks(self) -> None:
        while True:
            await asyncio.sleep(3)
            for symbol in SYMBOLS:
                if self.venue.is_trading(symbol):
                    self.venue.market.price(symbol, self.venue.market.prices[symbol])

    def _raise_violations(self) -> None:
        violations = self.venue.exchange.violations + self.errors.messages
        if violations:
            raise Violation("\n".join(violations[:10]))

    async def _until_ready(self) -> None:
        for _ in range(600):
            if self.platform.run is not None and self.run.ready:
                return
            await asyncio.sleep(0.1)
        run = self.platform.run
        why = "it does not run" if run is None else run.host.lifecycle.waiting_for("trading")
        raise Violation(f"trading is not ready: {why}")

    # Dying

    def _after_step(self) -> None:
        if self.kill_at and self.loop.steps >= self.kill_at:
            self.kill_at = 0
            self.platform.kill()

    def _writer_fault(self, moment: str) -> None:
        if self.kill_moment == moment:
            self.kill_moment = ""
            self.platform.kill()
        if self.writes_to_fail and moment == "before commit":
            self.writes_to_fail -= 1
            raise OperationalError("the disk is full", {}, Exception("the disk is full"))

    def _killed(self) -> None:
        self.kills += 1
        self.venue.line.listeners.clear()
        self.venue.market.listeners.clear()
        for follower in self.followers.values():
            follower.running = False
        self.history.append(f"{self.loop.time():10.3f} killed")
        self.platform.spawn(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(self.rng.choice([0.01, 0.2, 2.0, 12.0]))
        if self.platform.run is None:
            await self.platform.start()
            self.history.append(f"{self.loop.time():10.3f} started")
            self.follow()

    # Settling

    async def settle(self, a: int = 1) -> None:
        """All is well again, for long enough; then everything must agree, also after one more restart."""
        self.kill_at = self.writes_to_fail = 0
        self.kill_moment, self.venue.forgets_next = "", False
        usual, self.venue.line.faults = self.venue.line.faults, GOOD
        if not self.venue.line.up:
            self.venue.line.start()
        for name in GATEWAYS:
            if not self.venue.connected[name]:
                self.venue.connect(name, True)
        await self._settled()
        if a % 2:
            await self._compare_with_restarted()
        self._raise_violations()
        self.venue.line.faults = usual

    async def _settled(self) -> None:
        violations = ["it never became ready"]
        for second in range(SETTLED_S):
            await asyncio.sleep(1)
            self._raise_violations()
            self.follow()
            if self.platform.run is None or not self.run.ready or second < SETTLED_FROM_S:
                continue
            await self.resolve()
            violations = await checks.problems(self)
            if not violations:
                return
        raise Violation("\n".join(violations[:20]))

    async def _compare_with_restarted(self) -> None:
        soon_ns = max((o.expire_time.ToNanoseconds() for o in (await checks.read(self)).open.values()), default=0)
        left_s = (soon_ns - self.clock.now_ns()) / 1e9 + 8
        if left_s > 0:  # what expired a moment ago may not be noticed yet
            await asyncio.sleep(left_s)
        before = await restarts.dump(self)
        self.platform.kill()
        for _ in range(15):
            await asyncio.sleep(1)
            self.follow()
        await self._until_ready()
        await asyncio.sleep(SETTLED_FROM_S)
        if changed := restarts.differences(before, await restarts.dump(self)):
            raise Violation("a restart changed:\n" + "\n".join(changed[:10]))
        await self._settled()


class _Errors(logging.Handler):
    """Errors of trading that nobody made happen."""

    EXPECTED = (
        "cannot be written",
        "could not be written",
        "books are read anew",
        "stays UNKNOWN",
        "was closed since",
        "the database is closing",
    )

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(part in text for part in self.EXPECTED):
            return
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        self.messages.append(text)
