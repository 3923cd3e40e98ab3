"""Risk's word on an order before it is one. Without risk only orders that reduce exposure pass."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from redfire.common.v1 import error_reason_pb2
from redfire.enums import PositionEffect
from redfire.reasons import Reason
from redfire.risk.v1 import risk_pb2
from redfire.risk.v1.risk_pb2_grpc import RiskServiceStub

from services.kernel.decimals import from_text, plain, to_text
from services.kernel.errors import FailedPrecondition, RedFireError, Unavailable
from services.trading.domain.instrument import Instrument
from services.trading.domain.order import NewOrder, Order

log = logging.getLogger(__name__)
TIMEOUT_S = 1.0


class RiskRefused(FailedPrecondition):
    """Risk does not let the order through."""


class RiskUnavailable(Unavailable):
    """Risk does not answer, and the order would add exposure: no word on the order, which may be tried again."""

    reason = Reason.RISK_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class RiskAnswer:
    """Risk's answer: the violations, and in dry runs the most that it would let through (None: no limit)."""

    refusals: list[RedFireError]
    max_quantity: Decimal | None = None
    # Resting orders of the same owner that the order would trade with: it may be sent when they are gone.
    cancel_first: tuple[str, ...] = ()


class RiskClient:
    """Asks RiskService.CheckOrder."""

    def __init__(self, risk: RiskServiceStub) -> None:
        self._risk = risk

    async def check(
        self,
        user_id: str,
        account_id: str,
        order_id: str,
        order: NewOrder,
        reference_price: Decimal,
        instrument: Instrument,
        gateway: str,
        dry_run: bool = False,
        replaces: bool = False,
        triggered: bool = False,
    ) -> RiskAnswer:
        """Ask whether an order may be accepted, or, `triggered`, an accepted stop may be sent; fails closed."""
        request = risk_pb2.CheckOrderRequest(
            user_id=user_id,
            account_id=account_id,
            order_id=order_id,
            symbol=order.symbol,
            side=int(order.side),  # type: ignore[arg-type]
            position_effect=int(order.position_effect),  # type: ignore[arg-type]
            type=int(order.type),  # type: ignore[arg-type]
            quantity=plain(order.quantity),
            price=to_text(order.price),
            reference_price=plain(reference_price),
            contract_size=plain(instrument.contract_size),
            dry_run=dry_run,
            replaces=replaces,
            stop_price=to_text(order.stop_price),
            gateway=gateway,
            triggered=triggered,
        )
        try:
            answer = await self._risk.CheckOrder(request, timeout=TIMEOUT_S)
        except RedFireError as error:
            log.warning("risk does not answer: %s", error.message)
            if order.position_effect is PositionEffect.OPEN:
                return RiskAnswer([RiskUnavailable()])
            return RiskAnswer([])
        if not answer.violations and not answer.max_quantity and not answer.cancel_first_order_ids:
            return _PASSED
        return RiskAnswer(
            _refusals(answer.violations), from_text(answer.max_quantity), tuple(answer.cancel_first_order_ids)
        )

    async def release(self, account_id: str, order_ids: Iterable[str]) -> None:
        """Release what risk counted of orders that are refused after all; without its answer that ends by itself."""
        request = risk_pb2.ReleaseOrdersRequest(account_id=account_id, order_ids=order_ids)
        try:
            await self._risk.ReleaseOrders(request, timeout=TIMEOUT_S)
        except RedFireError as error:
            log.warning("risk does not answer: %s", error.message)

    async def check_cancel(self, order: Order) -> RedFireError | None:
        """Violations by a user's cancel of an order now. Without risk every cancel passes: it adds no exposure."""
        if order.is_held:
            return None  # nothing of it is at a venue
        request = risk_pb2.CheckCancelRequest(
            user_id=order.user_id, account_id=order.account_id, symbol=order.symbol, order_id=order.order_id
        )
        try:
            answer = await self._risk.CheckCancel(request, timeout=TIMEOUT_S)
        except RedFireError as error:
            log.warning("risk does not answer: %s", error.message)
            return None
        return next(iter(_refusals(answer.violations)), None)


def _refusals(violations: Iterable[risk_pb2.RiskViolation]) -> list[RedFireError]:
    return [
        RiskRefused(
            violation.message,
            reason=Reason(error_reason_pb2.ErrorReason.Name(violation.reason)),
            **dict(violation.metadata),
        )
        for violation in violations
    ]


_PASSED = RiskAnswer([])
