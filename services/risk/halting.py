"""Cancels the resting orders of whoever is halted, and again until none is left."""

import asyncio
import logging

from redfire.trading.v1 import order_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.clock import Clock
from services.kernel.errors import RedFireError
from services.risk.portfolio import Portfolio
from services.risk.trading_state import EVERYBODY, StateSetting, TradingStates

log = logging.getLogger(__name__)
LOOK_S = 0.5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Halting:
    """An order may pass its check just before the halt and rest just after: so whoever is halted is looked after."""

    def __init__(self, trading: OrderServiceStub, states: TradingStates, portfolio: Portfolio, clock: Clock) -> None:
        self._trading = trading
        self._states = states
        self._portfolio = portfolio
        self._clock = clock
        self._wake = asyncio.Event()
        # By account: when to cancel next, and the pause after that. An account that is not here is due.
        self._next: dict[str, tuple[float, float]] = {}

    def begin(self, account_id: str) -> None:
        """An account was halted, or everybody was."""
        self._next.pop(account_id, None)
        self._wake.set()

    async def run(self) -> None:
        """Look after the halted for as long as the process runs."""
        while True:
            halted = self._states.halted()
            for setting in halted:
                if self._due(setting):
                    await self._cancel(setting)
            self._next = {s.account_id: self._next[s.account_id] for s in halted if s.account_id in self._next}
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def _due(self, setting: StateSetting) -> bool:
        if setting.account_id not in self._next:
            return True
        if setting.account_id == EVERYBODY:
            resting = any(book.resting for book in self._portfolio.books())
        else:
            book = self._portfolio.find(setting.account_id)
            resting = book is not None and book.resting > 0
        return resting and self._next[setting.account_id][0] <= self._clock.monotonic()

    async def _cancel(self, setting: StateSetting) -> None:
        request = order_service_pb2.CancelAccountOrdersRequest(user_id=setting.user_id, account_id=setting.account_id)
        try:
            answer = await self._trading.CancelAccountOrders(request)
        except RedFireError as error:
            log.warning("orders of %s could not be canceled yet: %s", setting.account_id or "everybody", error.message)
            return
        _, pause_s = self._next.get(setting.account_id, (0.0, FIRST_PAUSE_S))
        self._next[setting.account_id] = self._clock.monotonic() + pause_s, min(pause_s * 2, LONGEST_PAUSE_S)
        log.info("halted %s: %d orders are being canceled", setting.account_id or "everybody", answer.count)
