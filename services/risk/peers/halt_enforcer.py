"""Cancels resting orders that may not rest any more, and again until none is left."""

import asyncio
import logging
from dataclasses import dataclass

from redfire.enums import TradingState
from redfire.reasons import Reason
from redfire.trading.v1 import order_service_pb2
from redfire.trading.v1.order_service_pb2_grpc import OrderServiceStub

from services.kernel.clock import Clock
from services.kernel.errors import RedFireError
from services.kernel.tasks import wait_for_event
from services.risk.convert import reason_to_pb
from services.risk.domain.portfolio import Portfolio
from services.risk.domain.trading_state import EVERYBODY, TradingStates

log = logging.getLogger(__name__)
LOOK_S = 0.5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """Orders that may not rest: all, or those that open, of an account, a user (without account_id) or everybody."""

    account_id: str
    opening_only: bool
    user_id: str
    reason: Reason


class HaltEnforcer:
    """Cancels orders of accounts that are HALTED (no order may rest), REDUCING or over the day's loss (no opening one).

    An order may pass its check just before and rest just after: so this is repeated, not done once.
    """

    def __init__(self, trading: OrderServiceStub, states: TradingStates, portfolio: Portfolio, clock: Clock) -> None:
        self._trading = trading
        self._states = states
        self._portfolio = portfolio
        self._clock = clock
        self._wake = asyncio.Event()
        # By account or user and opening_only: when to cancel next, and the pause after that. What is not here is due.
        self._next: dict[tuple[str, bool], tuple[float, float]] = {}

    def begin(self, account_id: str) -> None:
        """An account or user may trade less from now on, or everybody may."""
        for opening_only in (False, True):
            self._next.pop((account_id, opening_only), None)
        self._wake.set()

    async def run(self) -> None:
        """Cancel such orders until cancelled."""
        while True:
            targets = self._targets()
            for key in self._next.keys() - targets.keys():
                del self._next[key]
            for key, target in targets.items():
                if self._due(key):
                    await self._cancel(key, target)
                if self._wake.is_set():
                    break  # a halt does not wait for many others
            await wait_for_event(self._wake, LOOK_S)
            self._wake.clear()

    def _targets(self) -> dict[tuple[str, bool], Target]:
        targets = {}
        for setting in sorted(self._states.restricted(), key=lambda setting: -setting.state):
            halted = setting.state is TradingState.HALTED
            reason = Reason.TRADING_HALTED if halted else Reason.REDUCE_ONLY
            key = setting.account_id, not halted
            account_id = "" if setting.of_user else setting.account_id
            targets[key] = Target(account_id, not halted, setting.user_id, reason)
        for account_id in self._portfolio.lost:
            account = self._portfolio.find(account_id)
            if account is not None:
                reason = Reason.RISK_LIMIT_MAX_DAILY_LOSS
                targets.setdefault((account_id, True), Target(account_id, True, account.user_id, reason))
        return targets

    def _due(self, key: tuple[str, bool]) -> bool:
        if key not in self._next:
            return True
        if self._next[key][0] > self._clock.monotonic():
            return False
        account_id, opening_only = key
        if account_id == EVERYBODY:
            return any(
                account.resting_opening if opening_only else account.resting for account in self._portfolio.accounts()
            )
        account = self._portfolio.find(account_id)
        accounts = self._portfolio.owned_by(account_id) if account is None else [account]
        return any((one.resting_opening if opening_only else one.resting) > 0 for one in accounts)

    async def _cancel(self, key: tuple[str, bool], target: Target) -> None:
        request = order_service_pb2.CancelAccountOrdersRequest(
            user_id=target.user_id,
            account_id=target.account_id,
            opening_only=target.opening_only,
            reason=reason_to_pb(target.reason),
        )
        owner = target.account_id or target.user_id or "everybody"
        _, pause_s = self._next.get(key, (0.0, FIRST_PAUSE_S))
        # A `begin` meanwhile is not undone by this.
        self._next[key] = self._clock.monotonic() + LOOK_S, pause_s
        try:
            answer = await self._trading.CancelAccountOrders(request)
        except RedFireError as error:
            log.warning("orders of %s could not be canceled yet: %s", owner, error.message)
            # Also when none rests as far as is known: some may be on their way.
            self._next.pop(key, None)
            return
        if key in self._next:
            self._next[key] = self._clock.monotonic() + pause_s, min(pause_s * 2, LONGEST_PAUSE_S)
        log.info("%s of %s: %d orders are being canceled", target.reason.value, owner, answer.count)
