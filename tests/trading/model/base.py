"""Base of the model's parts: its words, its state, and a client's calls."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from decimal import Decimal as D
from typing import Any, NamedTuple

from services.kernel.errors import RedFireError
from tests.simulated_time import SimulatedClock, SimulatedLoop
from tests.trading.model.follower import Follower
from tests.trading.model.platform import Platform, Run
from tests.trading.model.venue import Venue

USERS = ("u-1", "u-2")
LATELY = 12  # orders among which an operation chooses


class Violation(AssertionError):
    """An invariant does not hold."""


class Op(NamedTuple):
    """An operation: its name, its numbers, and the seed of what chance does until the next one."""

    name: str
    numbers: tuple[int, ...]
    noise: int


@dataclass
class Intent:
    """An order as a client wants it, and what he knows of it. `close` names the RPC."""

    user: str
    account_id: str
    client_order_id: str
    request: Any
    close: bool
    most: D
    order_id: str = ""
    refused: bool = False
    unsure: bool = False
    # The group that it was asked for with.
    group: "GroupIntent | None" = None


@dataclass
class GroupIntent:
    """A group as a client wants it."""

    user: str
    account_id: str
    request: Any
    intents: list[Intent]
    order_group_id: str = ""


class Base:
    """The model's state."""

    loop: SimulatedLoop
    rng: random.Random
    clock: SimulatedClock
    venue: Venue
    platform: Platform
    accounts: list[tuple[str, str, str]]  # user, gateway, account
    intents: dict[str, Intent]
    groups: list[GroupIntent]
    by_order: dict[str, Intent]
    acknowledged: list[str]
    followers: dict[str, Follower]
    errors_seen: list[str]

    @property
    def run(self) -> Run:
        assert self.platform.run is not None
        return self.platform.run

    def account(self, a: int) -> tuple[str, str, str]:
        return self.accounts[a % len(self.accounts)]

    def some(self, a: int) -> Intent | None:
        """One of the last orders that trading acknowledged."""
        if self.platform.run is None or not self.acknowledged:
            return None
        lately = self.acknowledged[-LATELY:]
        return self.by_order[lately[a % len(lately)]]

    def client(self, call: Awaitable[Any], patience: int = 0) -> None:
        """A client's call, which he may leave before it is answered."""
        if self.platform.run is None:
            close = getattr(call, "close", None)
            if close is not None:
                close()
            return
        limit_s = self.rng.random() * 0.02 if patience % 7 == 6 else None

        async def run() -> None:
            with contextlib.suppress(RedFireError, TimeoutError):
                async with asyncio.timeout(limit_s):
                    await call

        self.call(run())

    def acknowledge(self, intent: Intent, order: Any) -> None:
        """Trading answered with an order; the same one each time."""
        if intent.order_id and intent.order_id != order.order_id:
            self.errors_seen.append(f"{intent.client_order_id}: two orders, {intent.order_id} and {order.order_id}")
        if not intent.order_id:
            self.acknowledged.append(order.order_id)
        intent.order_id = order.order_id
        intent.most = max(intent.most, D(order.quantity))
        self.by_order[order.order_id] = intent

    def call(self, coroutine: Any) -> None:
        """Start a call that ends with this life of trading."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._called)

    def _called(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors_seen.append(f"a client met {error!r}")

    def follow(self) -> None:
        """Every client follows his orders."""
        run = self.platform.run
        if run is None:
            return
        for follower in self.followers.values():
            if not follower.running:
                follower.running = True
                self.call(follower.follow(run))
