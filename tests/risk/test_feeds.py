"""Whatever news came, in whatever order, exposure is what a fresh start from the last snapshot would say."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.market.v1 import market_pb2
from redfire.trading.v1 import order_service_pb2, trading_pb2

from services.kernel.clock import ManualClock
from services.risk.book import AccountBook
from services.risk.exposure import exposure_of
from services.risk.limits import Limits
from services.risk.portfolio import Portfolio
from services.risk.price_feed import PriceFeed
from services.risk.trading_feed import OPEN, TradingFeed

SYMBOLS = ["IF2101.CFFEX", "rb2105.SHFE"]
ACCOUNTS = ["one", "two"]


class Risk:
    """A portfolio and its feed, without a network."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.losses: list[Decimal] = []
        self.portfolio = Portfolio(self.clock, Limits(), lambda _, loss: self.losses.append(loss))
        self.portfolio.sizes = {SYMBOLS[0]: Decimal(300), SYMBOLS[1]: Decimal(10)}
        self.feed = TradingFeed(None, self.portfolio, asyncio.Event(), self.clock)  # type: ignore[arg-type]
        self.sequence = 0

    def news(self, **news: Any) -> None:
        self.sequence += 1
        response = order_service_pb2.StreamOrdersResponse(sequence=self.sequence, **news)
        self.feed._apply(order_service_pb2.WatchTradingResponse(user_id="user", news=response))

    def snapshot(self, messages: list[dict[str, Any]], *, gap: bool) -> None:
        if gap:
            self.news(gap=order_service_pb2.StreamOrdersResponse.Gap())
        else:
            self.portfolio.begin_snapshot()
        for message in messages:
            self.news(**message)
        self.news(snapshot_complete=order_service_pb2.StreamOrdersResponse.SnapshotComplete())

    def book(self, account_id: str) -> AccountBook:
        book = self.portfolio.find(account_id)
        assert book is not None
        return book


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


@settings(max_examples=200, deadline=None)
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
            risk.news(**event)
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
    fresh.portfolio.last_prices = dict(risk.portfolio.last_prices)
    fresh.snapshot(list(now.values()), gap=False)
    for account in ACCOUNTS:
        seen = exposure_of(risk.portfolio, risk.book(account))
        expected = exposure_of(fresh.portfolio, fresh.book(account))
        assert replace(seen, daily_pnl=Decimal(0), update_time_ns=0) == replace(
            expected, daily_pnl=Decimal(0), update_time_ns=0
        )
        assert risk.book(account).pending_notional == fresh.book(account).pending_notional
        assert risk.portfolio.total_pnl(risk.book(account)) == fresh.portfolio.total_pnl(fresh.book(account))


def with_loss_limit() -> Risk:
    risk = Risk()
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(1000)))
    risk.snapshot([{"account": trading_pb2.Account(account_id="one")}], gap=False)
    return risk


def test_the_loss_is_told_once_and_stays_until_the_next_day() -> None:
    risk = with_loss_limit()
    risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, 20210104)
    for realized in ("-999", "-1000", "-1500", "0"):
        risk.news(account=trading_pb2.Account(account_id="one", realized_pnl=realized))
    assert risk.losses == [Decimal(-1000)]
    assert risk.portfolio.loss_reached(risk.book("one"))
    risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, 20210105)
    assert not risk.portfolio.loss_reached(risk.book("one"))


def test_a_looser_limit_frees_the_account_and_a_tighter_one_locks_it_at_once() -> None:
    risk = with_loss_limit()
    risk.news(account=trading_pb2.Account(account_id="one", realized_pnl="-1000"))
    assert risk.portfolio.loss_reached(risk.book("one"))
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(2000)))
    assert not risk.portfolio.loss_reached(risk.book("one"))
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(500)))
    assert risk.portfolio.loss_reached(risk.book("one"))
    risk.portfolio.set_defaults(Limits())
    assert not risk.portfolio.loss_reached(risk.book("one"))


def test_a_tick_of_an_earlier_day_does_not_turn_the_day_back() -> None:
    risk = with_loss_limit()
    for day in (20210105, 20210104, 20210105):
        risk.portfolio.apply_price(SYMBOLS[1], Decimal(100), 0, day)
    assert risk.portfolio.trading_day == 20210105


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2021-01-04T02:00:00", 20210104),  # Monday, 10:00 in China
        ("2021-01-04T09:30:00", 20210105),  # Monday, 17:30: Tuesday's, as for everybody
        ("2021-01-04T13:00:00", 20210105),  # Monday, 21:00
        ("2021-01-08T13:00:00", 20210111),  # Friday, 21:00: Monday's
        ("2021-01-08T17:30:00", 20210111),  # Saturday, 01:30
        ("2021-02-10T13:00:00", 20210218),  # the evening before the Spring Festival
    ],
)
def test_a_tick_without_a_trading_day_has_the_calendars(utc: str, expected: int) -> None:
    time_ns = int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * 10**9
    risk = Risk()
    prices = PriceFeed(None, risk.portfolio, 1.0)  # type: ignore[arg-type]
    prices._apply(market_pb2.Tick(symbol="rb2105.SHFE", time_ns=time_ns, last_price=4300.0))
    assert risk.portfolio.trading_day == expected
