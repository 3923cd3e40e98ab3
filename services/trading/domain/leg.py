"""Legs, the parts of an order at its venue: one, or one for today's and one for yesterday's contracts.

SHFE and INE know no plain close of today's contracts: CLOSE there means yesterday's (CTP's THOST_FTDC_OF_Close), and
today's need CLOSE_TODAY. A CLOSE that needs both is split, as vnpy's OffsetConverter does; other exchanges take CLOSE
as it is. FOK is one order or none: it takes the contracts of whichever day has enough. Where neither has, it is refused
(UNSUPPORTED); a stop that comes to that when it triggers stays armed, and is sent when one leg can carry it.
"""

from decimal import Decimal

from redfire.enums import PositionEffect, TimeInForce
from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.kernel.errors import FailedPrecondition
from services.trading.domain.instrument import Instrument
from services.trading.domain.money import ZERO
from services.trading.domain.order import Delivery, Leg, NewOrder, Order
from services.trading.domain.position import Position


class FillOrKillNeedsOneLeg(FailedPrecondition):
    """Two legs cannot be filled or killed as one."""

    reason = Reason.UNSUPPORTED


def begin_legs(order: Order, instrument: Instrument | None, trading_day: int) -> None:
    """Give an order the legs for all that is still to trade and not at its venue; each has a number of its own.

    What a closing order holds of today's and yesterday's contracts decides how it is split. Legs that were given up
    without the venue's word stay, so that a late report of theirs is understood.
    """
    if order.legs:
        order.legs = [leg for leg in order.legs if leg.is_live or leg.delivery is Delivery.UNCERTAIN]
    for effect, quantity in _parts(order, instrument):
        order.legs.append(Leg(order.leg_count, effect, quantity, trading_day=trading_day))
        order.leg_count += 1


def _parts(order: Order, instrument: Instrument | None) -> list[tuple[PositionEffect, Decimal]]:
    leaves = order.quantity - order.cumulative_quantity
    today = order.hold_today
    for leg in order.legs:
        if leg.is_live:
            leaves -= leg.leaves_quantity
            if leg.position_effect is PositionEffect.CLOSE_TODAY:
                today -= leg.leaves_quantity
    effect = order.position_effect
    if effect is PositionEffect.CLOSE_TODAY and order.hold_yesterday:
        effect = PositionEffect.CLOSE  # held over the night: what was today's is yesterday's now
    if effect is not PositionEffect.CLOSE or instrument is None or not instrument.splits_close:
        return [(effect, leaves)]
    today = max(min(today, leaves), ZERO)
    parts = [(PositionEffect.CLOSE_TODAY, today), (PositionEffect.CLOSE_YESTERDAY, leaves - today)]
    return [(effect, quantity) for effect, quantity in parts if quantity]


def needs_one_leg(order: Order | NewOrder, instrument: Instrument) -> bool:
    """Return whether an order that is filled or killed as one might go as two."""
    return (
        order.time_in_force is TimeInForce.FOK
        and order.position_effect is PositionEffect.CLOSE
        and instrument.splits_close
    )


def split_violation(
    instrument: Instrument, position: Position | None, order: NewOrder, today_first: bool
) -> FillOrKillNeedsOneLeg | None:
    """The violation by a FOK order that must close both today's and yesterday's contracts."""
    if position is None or not needs_one_leg(order, instrument):
        return None
    hold = position.hold_for(order.position_effect, order.quantity, today_first)
    if hold is None or not all(hold) or position.hold_one_part(order.quantity, today_first) is not None:
        return None
    today, yesterday = (plain(part) for part in hold)
    return FillOrKillNeedsOneLeg(
        f"{instrument.exchange} closes today's and yesterday's contracts by separate orders, which cannot be filled or "
        f"killed as one: send CLOSE_TODAY {today} and CLOSE_YESTERDAY {yesterday}",
        close_today=today,
        close_yesterday=yesterday,
    )
