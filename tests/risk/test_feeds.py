"""Exposure after any updates in any order is that of a fresh start from the last snapshot."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.trading.v1 import trading_pb2

from services.risk.domain.exposure_view import view_exposure
from services.risk.domain.limits import Limits
from services.risk.peers.trading_feed import OPEN
from tests.examples import examples
from tests.risk.memory import SYMBOLS, Risk

ACCOUNTS = ["one", "two"]
ORDERS = st.builds(
    lambda n, account, symbol, side, effect, leaves, price, status: trading_pb2.Order(
        order_id=f"{account}-{n}", account_id=account, symbol=symbol, side=side, position_effect=effect,
        quantity="9", leaves_quantity=str(leaves), price=str(price), status=status,
    ),
    st.integers(1, 4), st.sampled_from(ACCOUNTS), st.sampled_from(SYMBOLS), st.integers(1, 2), st.integers(1, 4),
    st.integers(1, 9), st.integers(1, 5000), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
)  # fmt: skip
POSITIONS = st.builds(
    lambda account, symbol, side, quantity, average: trading_pb2.Position(
        account_id=account, symbol=symbol, side=side, quantity=str(quantity), average_price=str(average)
    ),
    st.sampled_from(ACCOUNTS), st.sampled_from(SYMBOLS), st.integers(1, 2), st.integers(0, 9), st.integers(1, 5000),
)  # fmt: skip
PNLS = st.builds(
    lambda account, pnl: trading_pb2.Account(account_id=account, realized_pnl=str(pnl), commission="1"),
    st.sampled_from(ACCOUNTS),
    st.integers(-1000, 1000),
)
EVENTS = st.lists(
    st.fixed_dictionaries({"order": ORDERS})
    | st.fixed_dictionaries({"position": POSITIONS})
    | st.fixed_dictionaries({"account": PNLS})
    | st.fixed_dictionaries({"trade": st.builds(trading_pb2.Trade, account_id=st.sampled_from(ACCOUNTS))})
    | st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 5000))
    | st.booleans(),
    max_size=40,
)


@settings(max_examples=examples(200), deadline=None)
@given(events=EVENTS)
def test_exposure_is_that_of_a_start_from_scratch(events: list[Any]) -> None:
    now: dict[tuple[str, ...], dict[str, Any]] = {
        ("account", account): {"account": trading_pb2.Account(account_id=account)} for account in ACCOUNTS
    }
    risk = Risk()
    risk.snapshot(list(now.values()), gap=False)
    for event in events:
        if isinstance(event, bool):
            risk.snapshot(list(now.values()), gap=event)
        elif isinstance(event, tuple):
            risk.portfolio.apply_price(event[0], Decimal(event[1]), 0, 20210104)
        else:
            risk.update(**event)
            ((kind, message),) = event.items()
            if kind == "order" and message.status not in OPEN:
                now.pop(("order", message.order_id), None)
            elif kind == "order":
                now[kind, message.order_id] = event
            elif kind == "position":
                now[kind, message.account_id, message.symbol, str(message.side)] = event
            elif kind == "account":
                now[kind, message.account_id] = event
    fresh = Risk()
    fresh.portfolio.prices = risk.portfolio.prices
    fresh.snapshot(list(now.values()), gap=False)
    for account in ACCOUNTS:
        seen = view_exposure(risk.portfolio, risk.account(account), 0.0)
        expected = view_exposure(fresh.portfolio, fresh.account(account), 0.0)
        assert replace(seen, daily_pnl=Decimal(0), update_time_ns=0) == replace(
            expected, daily_pnl=Decimal(0), update_time_ns=0
        )
        assert risk.account(account).pending_notional == fresh.account(account).pending_notional
        assert risk.portfolio.total_pnl(risk.account(account)) == fresh.portfolio.total_pnl(fresh.account(account))


def with_loss_limit() -> Risk:
    risk = Risk()
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(1000)))
    risk.snapshot([{"account": trading_pb2.Account(account_id="one")}], gap=False)
    return risk


def test_the_loss_is_reported_once_and_stays_until_the_next_day() -> None:
    risk = with_loss_limit()
    risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, 20210104)
    for realized in ("-999", "-1000", "-1500", "0"):
        risk.update(account=trading_pb2.Account(account_id="one", realized_pnl=realized))
    assert risk.losses == [Decimal(-1000)]
    assert risk.portfolio.loss_reached(risk.account("one"))
    risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, 20210105)
    assert not risk.portfolio.loss_reached(risk.account("one"))


def test_a_looser_limit_frees_the_account_and_a_tighter_one_locks_it_at_once() -> None:
    risk = with_loss_limit()
    risk.update(account=trading_pb2.Account(account_id="one", realized_pnl="-1000"))
    assert risk.portfolio.loss_reached(risk.account("one"))
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(2000)))
    assert not risk.portfolio.loss_reached(risk.account("one"))
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(500)))
    assert risk.portfolio.loss_reached(risk.account("one"))
    risk.portfolio.set_defaults(Limits())
    assert not risk.portfolio.loss_reached(risk.account("one"))


def test_a_tick_of_an_earlier_day_does_not_turn_the_day_back() -> None:
    risk = with_loss_limit()
    for day in (20210105, 20210104, 20210105):
        risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, day)
    assert risk.portfolio.trading_days.of("") == 20210105
