"""Between the contract's messages and the domain's objects."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from google.protobuf import timestamp_pb2
from redfire.common.v1 import common_pb2, error_reason_pb2
from redfire.enums import TradingState
from redfire.reasons import Reason
from redfire.risk.v1 import risk_pb2 as pb

from services.kernel.decimals import from_text, plain, to_text
from services.risk.domain.account_key import AccountKey
from services.risk.domain.exposure_view import ExposureView, SymbolExposure
from services.risk.domain.limits import COUNTS, NAMES, Limits, SelfTradePrevention
from services.risk.domain.order import OrderCandidate, number
from services.risk.domain.prices import PriceView
from services.risk.domain.risk_event import RiskEvent
from services.risk.domain.violation import PASSED, Verdict, Violation

OPENING_EFFECTS = frozenset({common_pb2.POSITION_EFFECT_UNSPECIFIED, common_pb2.POSITION_EFFECT_OPEN})
STOP_TYPES = frozenset(
    {common_pb2.ORDER_TYPE_STOP, common_pb2.ORDER_TYPE_STOP_LIMIT, common_pb2.ORDER_TYPE_TRAILING_STOP}
)
_PREVENTIONS = {
    pb.SELF_TRADE_PREVENTION_CANCEL_RESTING: SelfTradePrevention.CANCEL_RESTING,
    pb.SELF_TRADE_PREVENTION_CANCEL_NEW: SelfTradePrevention.CANCEL_NEW,
    pb.SELF_TRADE_PREVENTION_OFF: SelfTradePrevention.OFF,
}
_PASSED = pb.CheckOrderResponse()


def candidate_from_pb(request: pb.CheckOrderRequest) -> OrderCandidate:
    """The order to check."""
    price = number(request.price) if request.price else None
    kind, effect = request.type, request.position_effect
    stop = kind in STOP_TYPES
    return OrderCandidate(
        user_id=request.user_id,
        account_id=request.account_id,
        order_id=request.order_id,
        symbol=request.symbol,
        buys=request.side == common_pb2.SIDE_BUY,
        opens=effect in OPENING_EFFECTS,
        quantity=number(request.quantity),
        value_price=number(request.reference_price) if price is None else price,
        contract_size=number(request.contract_size),
        price=price,
        gateway=request.gateway,
        dry_run=request.dry_run,
        replaces=request.replaces,
        held=stop and not request.triggered,
        triggered=request.triggered,
        type=kind,
        effect=effect,
        stop_price=request.stop_price if stop else "",
    )


def verdict_to_pb(verdict: Verdict) -> pb.CheckOrderResponse:
    """The verdict on an order; the message of one that passes is made once."""
    if verdict is PASSED:
        return _PASSED
    return pb.CheckOrderResponse(
        violations=[violation_to_pb(violation) for violation in verdict.violations],
        max_quantity=to_text(verdict.max_quantity),
        cancel_first_order_ids=verdict.cancel_first,
        last_price=None if verdict.last is None else _price_to_pb(verdict.last),
    )


def violation_to_pb(violation: Violation) -> pb.RiskViolation:
    """A reason why an order may not be accepted."""
    return pb.RiskViolation(
        reason=reason_to_pb(violation.reason), message=violation.message, metadata=violation.metadata
    )


def limits_from_pb(limits: pb.RiskLimits) -> Limits:
    """The limits that are set in a message."""
    values: dict[str, Any] = {}
    for name in NAMES:
        if name in COUNTS:
            values[name] = getattr(limits, name) if limits.HasField(name) else None
        elif name == "duplicate_window":
            window = limits.duplicate_window
            seconds = Decimal(window.seconds) + Decimal(window.nanos) / 1_000_000_000
            values[name] = seconds if limits.HasField(name) else None
        elif name == "self_trade_prevention":
            values[name] = _PREVENTIONS.get(limits.self_trade_prevention)
        else:
            values[name] = from_text(getattr(limits, name))
    return Limits(**values)


def limits_to_pb(limits: Limits) -> pb.RiskLimits:
    """Limits; those that are not limited are empty."""
    given: dict[str, Any] = limits.given()
    window, prevention = given.pop("duplicate_window", None), given.pop("self_trade_prevention", None)
    texts: dict[str, Any] = {name: value if name in COUNTS else plain(value) for name, value in given.items()}
    message = pb.RiskLimits(**texts)
    if window:
        message.duplicate_window.FromNanoseconds(int(window * 1_000_000_000))
    if prevention:
        message.self_trade_prevention = prevention
    return message


def exposure_to_pb(exposure: ExposureView) -> pb.Exposure:
    """The exposure of an account."""
    message = pb.Exposure(
        account_id=exposure.account_id,
        gross_notional=plain(exposure.gross_notional),
        net_notional=plain(exposure.net_notional),
        open_orders=exposure.open_orders,
        unrealized_pnl=plain(exposure.unrealized_pnl),
        daily_pnl=plain(exposure.daily_pnl),
        symbols=[_symbol_to_pb(symbol) for symbol in exposure.symbols],
    )
    if exposure.update_time_ns:
        message.update_time.FromNanoseconds(exposure.update_time_ns)
    return message


def event_to_pb(event: RiskEvent) -> pb.RiskEvent:
    """An event."""
    return pb.RiskEvent(
        event_id=event.event_id,
        account_id=event.account_id,
        reason=reason_to_pb(event.reason) if event.reason else error_reason_pb2.ERROR_REASON_UNSPECIFIED,
        message=event.message,
        metadata=event.metadata,
        create_time=timestamp_to_pb(event.create_time),
    )


def reason_to_pb(reason: Reason) -> error_reason_pb2.ErrorReason:
    """The contract's number of a reason."""
    return cast(error_reason_pb2.ErrorReason, error_reason_pb2.ErrorReason.Value(reason.value))


def subject_to_fields(key: AccountKey) -> dict[str, str]:
    """The fields of an answer that name the account or the user that limits or a state are of."""
    return {"user_id": key.user_id} if key.is_user else {"account_id": key.account_id}


def state_to_pb(state: TradingState) -> common_pb2.TradingState:
    """The contract's number of a state, which is the same."""
    return cast(common_pb2.TradingState, int(state))


def timestamp_to_pb(time: datetime) -> timestamp_pb2.Timestamp:
    """A Timestamp of an aware datetime."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(time)
    return stamp


def timestamp_from_pb(stamp: timestamp_pb2.Timestamp) -> datetime:
    """An aware datetime of a Timestamp."""
    return stamp.ToDatetime(UTC)


def _symbol_to_pb(symbol: SymbolExposure) -> pb.SymbolExposure:
    return pb.SymbolExposure(
        symbol=symbol.symbol,
        long_quantity=to_text(symbol.long_quantity),
        short_quantity=to_text(symbol.short_quantity),
        pending_buy_quantity=to_text(symbol.pending_buy_quantity),
        pending_sell_quantity=to_text(symbol.pending_sell_quantity),
        net_notional=to_text(symbol.net_notional),
        gross_notional=to_text(symbol.gross_notional),
        unrealized_pnl=to_text(symbol.unrealized_pnl),
        last_price=None if symbol.last is None else _price_to_pb(symbol.last),
    )


def _price_to_pb(view: PriceView) -> pb.ReferencePrice:
    price = pb.ReferencePrice(price=plain(view.last.price), gateway_name=view.last.gateway)
    if view.last.time_ns:
        price.time.FromNanoseconds(view.last.time_ns)
    price.age.FromNanoseconds(int(view.age_s * 1e9))
    if view.unconfirmed_s:
        price.unconfirmed.FromNanoseconds(int(view.unconfirmed_s * 1e9))
    return price
