"""Each limit at its edge: what reaches it passes, what exceeds it does not."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from redfire.enums import TradingState
from redfire.reasons import Reason

from services.risk.domain.account_exposure import ZERO, AccountExposure, Position
from services.risk.domain.check import Circumstances, growth_of, max_quantity, violations
from services.risk.domain.limits import Limits
from services.risk.domain.order import OrderCandidate, WorkingOrder
from services.risk.domain.prices import LastPrice
from services.risk.settings import RiskSettings

D = Decimal
LAST = LastPrice(D(100), time_ns=0, received_s=9.0, gateway="SIM", sequence=1)
ACTIVE = Circumstances(TradingState.ACTIVE, "", ZERO, LAST, False, ZERO, 10.0)
ORDER = OrderCandidate("u", "a", "o", "IF.CFFEX", True, True, D(5), D(100), D(10), D(100))


def account(**limits: Any) -> AccountExposure:
    made = AccountExposure("a", "u")
    made.limits = Limits(**limits)
    return made


def working(
    order_id: str = "w", quantity: int = 4, leaves: int = 4, *, buys: bool = True, opens: bool = True
) -> WorkingOrder:
    return WorkingOrder(order_id, "IF.CFFEX", buys, opens, D(quantity), D(leaves), D(100), D(100), D(leaves) * 1000)


def reasons(made: AccountExposure, order: OrderCandidate = ORDER, now: Circumstances = ACTIVE) -> list[Reason]:
    return [violation.reason for violation in violations(made, order, now, growth_of(made, order))]


def most(made: AccountExposure, now: Circumstances) -> Decimal | None:
    refusals = list(violations(made, ORDER, now, growth_of(made, ORDER)))
    return max_quantity(made, ORDER, now, refusals)


@pytest.mark.parametrize(
    ("limits", "at", "above", "reason"),
    [
        ({"max_order_quantity": D(5)}, {}, {"quantity": D("5.1")}, Reason.RISK_LIMIT_MAX_ORDER_QUANTITY),
        ({"max_order_notional": D(5000)}, {}, {"value_price": D("100.1")}, Reason.RISK_LIMIT_MAX_ORDER_NOTIONAL),
        ({"max_position_quantity": D(12)}, {}, {"quantity": D(6)}, Reason.RISK_LIMIT_MAX_POSITION_QUANTITY),
        ({"max_gross_notional": D(9000)}, {}, {"quantity": D(6)}, Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL),
        (
            {"price_collar_ratio": D("0.1")},
            {"price": D(110)},
            {"price": D("110.2")},
            Reason.RISK_LIMIT_PRICE_COLLAR,
        ),
        (
            {"price_collar_ratio": D("0.1")},
            {"buys": False, "price": D(90)},
            {"buys": False, "price": D("89.8")},
            Reason.RISK_LIMIT_PRICE_COLLAR,
        ),
    ],
)
def test_a_limit_is_reached_but_not_exceeded(limits: Any, at: Any, above: Any, reason: Reason) -> None:
    made = account(**limits)
    made.apply_position("IF.CFFEX", True, Position(D(3), D(100), ZERO, None))
    made.apply_order(working())
    assert reasons(made, replace(ORDER, **at)) == []
    assert reasons(made, replace(ORDER, **above)) == [reason]


def test_open_orders_and_rate_count_what_is_reserved() -> None:
    made = account(max_open_orders=2, max_orders_per_second=1)
    made.apply_order(working())
    assert reasons(made) == []
    made.reserve(ORDER, ORDER.quantity, ORDER.notional, 20.0)
    made.admit(10.0)
    again = replace(ORDER, order_id="p")
    assert reasons(made, again) == [Reason.RISK_LIMIT_MAX_OPEN_ORDERS, Reason.RISK_LIMIT_MAX_ORDERS_PER_SECOND]
    assert reasons(made, again, replace(ACTIVE, now=11.0)) == [Reason.RISK_LIMIT_MAX_OPEN_ORDERS]
    assert reasons(made, ORDER) == [], "the same order again is the same order"


def test_the_collar_is_only_for_the_aggressive_side_and_only_for_limits() -> None:
    made = account(price_collar_ratio=D("0.1"))
    assert reasons(made, replace(ORDER, price=D(1))) == []
    assert reasons(made, replace(ORDER, buys=False, price=D(1000))) == []
    assert reasons(made, replace(ORDER, price=None, value_price=D(1000))) == []
    below_zero = replace(ACTIVE, last=replace(LAST, price=D(-100)))
    assert reasons(made, replace(ORDER, price=D(-90)), below_zero) == []
    assert reasons(made, replace(ORDER, price=D(-89)), below_zero) == [Reason.RISK_LIMIT_PRICE_COLLAR]


def test_without_a_last_price_the_collar_lets_only_closing_limits_through() -> None:
    made, unknown = account(price_collar_ratio=D("0.1")), replace(ACTIVE, last=None)
    assert reasons(made, ORDER, unknown) == [Reason.NO_LIQUIDITY]
    assert most(made, unknown) == 0
    assert reasons(made, replace(ORDER, price=None), unknown) == []
    assert reasons(made, replace(ORDER, buys=False, opens=False, price=D(1)), unknown) == []
    assert reasons(account(), ORDER, unknown) == []


def test_while_a_contract_size_is_unknown_only_closing_orders_pass() -> None:
    unknown = replace(ACTIVE, unsized="au2612.SHFE")
    order = replace(ORDER, contract_size=D(0))
    (violation,) = violations(account(), order, unknown, growth_of(account(), order))
    assert violation.reason is Reason.UNKNOWN_SYMBOL
    assert violation.metadata == {"symbol": "au2612.SHFE"}
    assert most(account(), unknown) == 0
    assert reasons(account(), CLOSE, unknown) == []


CLOSE = replace(ORDER, buys=False, opens=False)


@pytest.mark.parametrize(
    ("now", "opening", "closing"),
    [
        ({"state": TradingState.HALTED}, [Reason.TRADING_HALTED], [Reason.TRADING_HALTED]),
        ({"state": TradingState.REDUCING}, [Reason.REDUCE_ONLY], []),
        ({"loss_reached": True}, [Reason.RISK_LIMIT_MAX_DAILY_LOSS], []),
    ],
)
def test_states_let_through_what_they_say(now: Any, opening: list[Reason], closing: list[Reason]) -> None:
    circumstances = replace(ACTIVE, **now)
    assert reasons(account(), ORDER, circumstances) == opening
    assert reasons(account(), CLOSE, circumstances) == closing
    assert most(account(), circumstances) == 0


def test_closing_is_not_held_back_by_limits_on_positions() -> None:
    assert reasons(account(max_position_quantity=D(0), max_gross_notional=D(0)), CLOSE) == []


@pytest.mark.parametrize(
    ("quantity", "expected"), [(4, []), (3, []), (7, []), (8, [Reason.RISK_LIMIT_MAX_POSITION_QUANTITY])]
)
def test_of_a_replace_only_the_growth_is_new(quantity: int, expected: list[Reason]) -> None:
    made = account(max_position_quantity=D(5), max_open_orders=1)
    made.apply_order(working("o", quantity=4, leaves=2))
    order = replace(ORDER, quantity=D(quantity), replaces=True)
    assert reasons(made, order) == expected


RESTING = WorkingOrder("o", "IF.CFFEX", True, True, D(4), D(3), D(100), D(100), D(3000))


@pytest.mark.parametrize("circumstances", [{"state": TradingState.REDUCING}, {"loss_reached": True}, {"unsized": "x"}])
@pytest.mark.parametrize(
    ("quantity", "price", "passes"),
    [(3, 100, True), (4, 99, True), (4, 100, True), (3, 101, False), (5, 100, False), (5, 90, False)],
)
def test_a_replace_that_reduces_passes_where_opening_is_not_allowed(
    circumstances: Any, quantity: int, price: int, passes: bool
) -> None:
    made = account(max_order_quantity=D(1), max_order_notional=D(1))
    made.apply_order(RESTING)
    replaced = replace(ORDER, quantity=D(quantity), price=D(price), replaces=True)
    now = replace(ACTIVE, **circumstances)
    assert (reasons(made, replaced, now) == []) is passes
    assert reasons(made, replaced, replace(ACTIVE, state=TradingState.HALTED))[0] is Reason.TRADING_HALTED
    assert reasons(made, replace(replaced, order_id="another"), now) != []


def test_reasons_against_all_opening_precede_reasons_against_this_order() -> None:
    made = account(max_orders_per_day=0, max_order_quantity=D(1))
    made.watched = True
    now = replace(ACTIVE, state=TradingState.REDUCING)
    expected = [Reason.REDUCE_ONLY, Reason.RISK_LIMIT_MAX_ORDERS_PER_DAY, Reason.RISK_LIMIT_MAX_ORDER_QUANTITY]
    assert reasons(made, ORDER, now) == expected


def test_a_selling_replace_reduces_at_a_higher_price() -> None:
    made, now = account(), replace(ACTIVE, state=TradingState.REDUCING)
    made.apply_order(replace(RESTING, buys=False))
    replaced = replace(ORDER, buys=False, quantity=D(4), replaces=True)
    assert reasons(made, replace(replaced, price=D(101)), now) == []
    assert reasons(made, replace(replaced, price=D(99)), now) == [Reason.REDUCE_ONLY]


TRIGGERED = replace(ORDER, quantity=D(4), price=None, triggered=True)


@pytest.mark.parametrize(
    ("limits", "circumstances", "reason"),
    [
        ({}, {"state": TradingState.HALTED}, Reason.TRADING_HALTED),
        ({}, {"state": TradingState.REDUCING}, Reason.REDUCE_ONLY),
        ({}, {"loss_reached": True}, Reason.RISK_LIMIT_MAX_DAILY_LOSS),
        ({"max_order_quantity": D(3)}, {}, Reason.RISK_LIMIT_MAX_ORDER_QUANTITY),
        ({"max_order_notional": D(3999)}, {}, Reason.RISK_LIMIT_MAX_ORDER_NOTIONAL),
        ({"max_position_quantity": D(6)}, {}, Reason.RISK_LIMIT_MAX_POSITION_QUANTITY),
        ({"max_gross_notional": D(4999)}, {"gross_notional": D(1000)}, Reason.RISK_LIMIT_MAX_GROSS_NOTIONAL),
    ],
)
def test_an_opening_stop_is_checked_again_when_it_triggers(limits: Any, circumstances: Any, reason: Reason) -> None:
    made = account(**limits)
    made.apply_order(replace(RESTING, price=None, leaves=D(4), notional=D(4000)))
    made.apply_position("IF.CFFEX", True, Position(D(3), D(100), ZERO, None))
    now = replace(ACTIVE, **circumstances)
    assert reasons(made, TRIGGERED, now) == [reason]
    closing = [reason] if reason is Reason.TRADING_HALTED else []
    assert reasons(made, replace(TRIGGERED, opens=False), now) == closing, "a protective stop protects"


def test_a_stop_that_triggers_is_no_new_order() -> None:
    made = account(max_open_orders=1, max_orders_per_second=0, max_position_quantity=D(4), price_collar_ratio=D("0.1"))
    made.apply_order(replace(RESTING, price=None, leaves=D(4), notional=D(4000)))
    assert reasons(made, TRIGGERED) == []
    assert reasons(made, replace(TRIGGERED, price=D(110))) == []
    assert reasons(made, replace(TRIGGERED, price=D(111))) == [Reason.RISK_LIMIT_PRICE_COLLAR]
    assert reasons(account(max_orders_per_second=0), replace(TRIGGERED, order_id="not seen yet")) == []


def test_the_most_that_is_accepted_is_accepted_and_no_more() -> None:
    made = account(
        max_order_quantity=D(50),
        max_order_notional=D(20_000),
        max_position_quantity=D(11),
        max_gross_notional=D(99_000),
    )
    made.apply_order(working())
    accepted = most(made, ACTIVE)
    assert accepted == 7
    assert reasons(made, replace(ORDER, quantity=accepted)) == []
    assert reasons(made, replace(ORDER, quantity=accepted + D("0.00000001"))) != []
    assert most(account(), ACTIVE) is None


def test_the_default_limits_let_a_paper_account_trade() -> None:
    made = account()
    made.limits = RiskSettings().default_limits()
    lots = replace(ORDER, quantity=D(3), value_price=D(4000), price=D(4000), contract_size=D(300))
    assert reasons(made, lots, replace(ACTIVE, last=replace(LAST, price=D(4000)))) == []
    huge = replace(lots, quantity=D(999_999_999))
    assert Reason.RISK_LIMIT_MAX_ORDER_QUANTITY in reasons(made, huge)


class Unread(dict[Any, Any]):
    """A dictionary that nobody may read through."""

    def __iter__(self) -> Any:
        raise AssertionError("the check reads through all orders")

    items = keys = values = __iter__  # type: ignore[assignment]


def test_a_check_of_a_busy_account_does_not_read_through_its_orders() -> None:
    made = account()
    made.limits = RiskSettings().default_limits()
    for n in range(100):
        made.apply_order(working(str(n), quantity=1, leaves=1))
    made.orders, made.reservations = Unread(made.orders), Unread(made.reservations)
    assert reasons(made) == []
    assert most(made, ACTIVE) is not None
