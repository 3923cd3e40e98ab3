"""Contract sizes and prices: what is not known is not guessed, and is learned as soon as the market sends it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from redfire.common.v1 import common_pb2 as common
from redfire.config.v1 import config_pb2
from redfire.config.v1.config_pb2_grpc import ConfigServiceStub
from redfire.market.v1 import market_pb2
from redfire.trading.v1 import trading_pb2

from services.config.convert import value_to_pb
from services.kernel.clock import ManualClock
from services.quant.calendar import Calendar
from services.risk.domain.daily import DailyPnl
from services.risk.domain.exposure_view import view_exposure
from services.risk.domain.limits import Limits
from services.risk.domain.market_status import MarketStatus
from services.risk.domain.prices import Prices
from services.risk.peers import price_feed
from services.risk.peers.price_feed import PriceFeed
from tests.risk.conftest import running
from tests.risk.memory import SYMBOLS, Risk
from tests.waiting import until

LATE = "rb2705.SHFE"
CLOSING = {"position_effect": common.POSITION_EFFECT_CLOSE, "side": common.SIDE_SELL}


def feed_of(risk: Risk) -> PriceFeed:
    """Prices of CTP, which is live, and of SIM, which replays a recording."""
    status = MarketStatus(risk.portfolio.prices, risk.clock, lambda reason, message, metadata: None)
    stub: Any = None
    feed = PriceFeed(stub, stub, risk.portfolio, Calendar.load(), risk.clock, 1.0, lambda currency: Decimal(1), status)
    feed._recorded = {"CTP": False, "SIM": True}
    return feed


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_feed, "SOON_S", 0.05)


async def test_an_instrument_that_is_listed_after_the_start_is_valued_and_followed() -> None:
    async for world in running():
        world.trading.position(world.alice.user_id, world.account_id, 2, average=3000, symbol=LATE)

        async def refused() -> bool:
            return await world.reasons(dry_run=True) == ["UNKNOWN_SYMBOL"]

        await until(refused)
        assert (await world.exposure()).gross_notional == "0"
        assert await world.reasons(symbol=LATE, contract_size="", **CLOSING) == []
        world.market.sizes[LATE] = "10"

        async def valued() -> bool:
            return (await world.exposure()).gross_notional == "60000"

        await until(valued)
        assert await world.reasons(dry_run=True) == []
        await until(lambda: any(LATE in symbols for symbols in world.market.watchers.values()))
        world.market.tick(2900, symbol=LATE)

        async def lost() -> bool:
            return (await world.exposure()).unrealized_pnl == "-2000"

        await until(lost)


async def test_the_days_loss_counts_with_a_contract_size_that_comes_late() -> None:
    async for world in running(max_daily_loss="1000"):
        world.trading.position(world.alice.user_id, world.account_id, 2, average=3000, symbol=LATE)
        world.market.sizes[LATE] = "10"
        await until(lambda: any(LATE in symbols for symbols in world.market.watchers.values()))
        world.market.tick(2950, symbol=LATE)

        async def locked() -> bool:
            return await world.reasons(dry_run=True) == ["RISK_LIMIT_MAX_DAILY_LOSS"]

        await until(locked)


async def test_what_trading_knows_of_an_instrument_is_enough_for_a_check() -> None:
    async for world in running(price_collar_ratio=None):
        assert await world.reasons(symbol=LATE, contract_size="", dry_run=True) == ["UNKNOWN_SYMBOL"]
        assert await world.reasons(symbol=LATE, contract_size="10") == []
        assert await world.reasons(symbol=LATE, contract_size="") == []


async def test_the_first_order_of_an_instrument_waits_for_its_price_and_is_compared_with_it() -> None:
    async for world in running():
        world.market.sizes[LATE] = "10"
        order = {"symbol": LATE, "contract_size": "10", "dry_run": True}
        assert await world.reasons(**order) == ["NO_LIQUIDITY"]
        assert await world.reasons(**order, **CLOSING) == []
        assert await world.reasons(**order, type=common.ORDER_TYPE_MARKET, price="") == []
        world.market.last[LATE] = market_pb2.Tick(symbol=LATE, last_price=3000)

        async def compared() -> bool:
            return await world.reasons(**order) == ["RISK_LIMIT_PRICE_COLLAR"]

        await until(compared)
        assert world.market.asked.count(LATE) < 50


async def test_what_is_quoted_in_dollars_counts_in_the_accounts_currency() -> None:
    rates = {"currency_rates": {"USD/CNY": "7.1"}}
    async for world in running(trading_settings=rates, max_order_notional="100000"):
        world.market.currencies[LATE] = "USD"
        world.market.sizes[LATE] = "10"
        world.market.last[LATE] = market_pb2.Tick(symbol=LATE, last_price=3000)
        world.trading.position(world.alice.user_id, world.account_id, 2, average=3000, symbol=LATE)

        async def valued() -> bool:
            return (await world.exposure()).gross_notional == "426000"

        await until(valued)
        # One contract is 30,000 dollars; trading sends the instrument's own size.
        order = {"symbol": LATE, "contract_size": "10", "price": "3000", "reference_price": "3000", "dry_run": True}
        assert await world.reasons(**order) == ["RISK_LIMIT_MAX_ORDER_NOTIONAL"]


async def test_currency_rates_are_followed_while_risk_runs() -> None:
    async for world in running("config", trading_settings={"currency_rates": {"USD/CNY": "7.1"}}):
        world.market.currencies[LATE] = "USD"
        world.market.sizes[LATE] = "10"
        world.trading.position(world.alice.user_id, world.account_id, 2, average=3000, symbol=LATE)
        configs = world.platform.identity(role="admin").stub(ConfigServiceStub)
        key = {"environment": "development", "service_name": "trading", "key": "currency_rates"}

        async def valued(notional: str) -> None:
            async def is_valued() -> bool:
                return (await world.exposure()).gross_notional == notional

            await until(is_valued)

        await valued("426000")
        await configs.SetConfig(config_pb2.SetConfigRequest(**key, value=value_to_pb({"USD/CNY": "7.2"})))
        await valued("432000")
        # Positions keep their rates at trading, and risk the last one that it knew.
        await configs.SetConfig(config_pb2.SetConfigRequest(**key, value=value_to_pb({"HKD/CNY": "0.9"})))
        world.market.tick(4001)
        world.trading.position(world.alice.user_id, world.account_id, 3, average=3000, symbol=LATE)
        await valued("648000")


async def test_an_instrument_that_is_gone_does_not_end_the_prices_of_others() -> None:
    async for world in running():
        world.market.sizes[LATE] = "10"
        await world.check(symbol=LATE, contract_size="10", dry_run=True)
        await until(lambda: any(LATE in symbols for symbols in world.market.watchers.values()))
        world.market.delist(LATE)
        await until(lambda: list(world.market.watchers.values()) == [{"IF2101.CFFEX"}])


async def test_many_instruments_are_all_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_feed, "MAX_SYMBOLS", 3)
    async for world in running():
        symbols = {f"c{n}.DCE" for n in range(8)}
        world.market.sizes.update(dict.fromkeys(symbols, "10"))
        for symbol in sorted(symbols):
            world.trading.position(world.alice.user_id, world.account_id, 1, symbol=symbol)

        def followed() -> bool:
            streams = list(world.market.watchers.values())
            return set().union(*streams) >= symbols and all(len(one) <= 3 for one in streams)

        await until(followed)


async def test_simulated_prices_do_not_count_for_a_real_account_nor_the_other_way() -> None:
    async for world in running(price=None):
        user, account_id = world.alice.user_id, world.account_id

        async def reasons() -> list[str]:
            return await world.reasons(dry_run=True, price="9999")

        await until(lambda: world.market.watchers)
        for gateway, tick, expected in (
            ("CTP", "SIM", "NO_LIQUIDITY"),
            ("CTP", "TTS", "RISK_LIMIT_PRICE_COLLAR"),
            ("CTP", "CTP", "RISK_LIMIT_PRICE_COLLAR"),
        ):
            world.trading.account(user, account_id, gateway=gateway)
            world.market.tick(4000, gateway=tick)

            async def is_so(expected: str = expected) -> bool:
                return await reasons() == [expected]

            await until(is_so)


def test_a_simulated_price_moves_no_real_position() -> None:
    risk = Risk()
    account = {"account": trading_pb2.Account(account_id="one", gateway="CTP")}
    position = trading_pb2.Position(
        account_id="one", symbol=SYMBOLS[0], side=1, quantity="1", average_price="4000", unrealized_pnl="5"
    )
    risk.portfolio.learn_real_gateways(["CTP", "TTS"])
    risk.snapshot([account, {"position": position}], gap=False)
    for gateway, expected in (("SIM", "5"), ("TTS", "3000"), ("SIM", "3000")):
        price = Decimal(1 if gateway == "SIM" else 4010)
        risk.portfolio.apply_price(SYMBOLS[0], price, 0, 20210104, gateway)
        assert view_exposure(risk.portfolio, risk.account("one"), 0.0).unrealized_pnl == Decimal(expected)


def test_prices_stay_when_it_becomes_known_that_a_gateway_is_real() -> None:
    prices = Prices()
    prices.put("CTP", "rb.SHFE", Decimal(3000), 7)
    assert prices.last("CTP", "rb.SHFE") == 3000
    assert prices.last("", "rb.SHFE") is None
    prices.set_real_gateways(["CTP", "TTS"])
    assert prices.last(prices.market_of("TTS"), "rb.SHFE") == 3000
    assert prices.time_ns("", "rb.SHFE") == 7


def test_orders_are_valued_anew_when_their_contract_size_comes() -> None:
    risk: Any = Risk()
    order = trading_pb2.Order(
        order_id="o", account_id="one", symbol=LATE, side=1, quantity="3", leaves_quantity="2", price="10", status=2
    )
    risk.snapshot([{"account": trading_pb2.Account(account_id="one")}, {"order": order}], gap=False)
    exposure = risk.account("one")
    assert (exposure.pending_notional, risk.portfolio.unsized(exposure)) == (0, {LATE})
    for size in (10, 20):
        risk.portfolio.learn_sizes({LATE: Decimal(size)})
        assert (exposure.pending_notional, risk.portfolio.unsized(exposure)) == (20 * size, set())


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
    prices = feed_of(risk)
    prices._apply(market_pb2.Tick(symbol="rb2105.SHFE", time_ns=time_ns, last_price=4300.0))
    assert risk.portfolio.trading_days.of("") == expected


@pytest.mark.parametrize(
    ("ticked", "expected"),
    [
        (["CTP 2026"], 20261125),
        (["SIM 2026"], 20261124),  # a recording may well be of this minute
        (["CTP 2026", "SIM 2021"], 20261125),
        (["? 2026"], 20261124),
    ],
)
def test_a_trading_day_begins_while_nothing_ticks_unless_all_ticks_are_recorded(
    ticked: list[str], expected: int
) -> None:
    risk = Risk()
    risk.clock = ManualClock(datetime.fromisoformat("2026-11-24 15:00:00+08:00"))
    prices = feed_of(risk)
    for gateway, year in map(str.split, ticked):
        time_ns = int(datetime.fromisoformat(f"{year}-11-24 14:59:59+08:00").timestamp()) * 10**9
        symbol = f"{gateway.replace('?', 'rb')}2105.SHFE"
        prices._apply(market_pb2.Tick(symbol=symbol, time_ns=time_ns, last_price=4300.0, gateway=gateway))
    days = risk.portfolio.trading_days
    prices._begin_day()
    assert days.of(ticked[0].split()[0]) == 20261124
    risk.clock.advance(hours=3)
    prices._begin_day()
    assert days.of(ticked[0].split()[0]) == expected


def test_a_tick_of_a_day_that_no_clock_has_reached_does_not_hold_back_the_next_ones() -> None:
    risk = Risk()
    prices = feed_of(risk)
    now_ns = risk.clock.now_ns()
    for day, expected in ((20991231, 20260105), (20260104, 20260105)):
        prices._apply(market_pb2.Tick(symbol="rb2105.SHFE", time_ns=now_ns, last_price=4300.0, trading_day=day))
        assert risk.portfolio.trading_days.of("") == expected


def test_a_replays_days_are_its_own_beside_a_live_market_and_begin_again_with_it() -> None:
    risk = Risk()
    risk.clock = ManualClock(datetime.fromisoformat("2026-11-24 10:00:00+08:00"))
    prices = feed_of(risk)
    risk.portfolio.learn_real_gateways(["CTP"])
    risk.portfolio.set_defaults(Limits(max_daily_loss=Decimal(100)))
    stored = [DailyPnl("live", "user", 20261124, Decimal(0), Decimal(0))]
    stored.append(DailyPnl("paper", "user", 20261123, Decimal(0), Decimal(-500), loss_reached=True))
    risk.portfolio.load_days(stored)
    accounts = {
        name: trading_pb2.Account(account_id=name, gateway=gateway, realized_pnl=pnl)
        for name, gateway, pnl in (("live", "CTP", "-150"), ("paper", "SIM", "-500"))
    }
    risk.snapshot([{"account": account} for account in accounts.values()], gap=False)

    def tick(gateway: str, day: int, sequence: int, epoch: str) -> None:
        symbol = "rb2701.SHFE" if gateway == "CTP" else SYMBOLS[1]
        fields = {"trading_day": day, "gateway": gateway, "sequence": sequence}
        prices._apply(market_pb2.Tick(symbol=symbol, time_ns=1, last_price=4300.0, **fields), epoch)

    def lost() -> list[bool]:
        return [risk.portfolio.loss_reached(risk.account(name)) for name in ("live", "paper")]

    tick("CTP", 20261124, 1, "e1")
    assert lost() == [True, True]
    # The first tick may be the last one of days ago; one behind it is of the present.
    tick("SIM", 20210104, 5, "e1")
    assert lost() == [True, True]
    tick("SIM", 20210105, 6, "e1")
    assert lost() == [True, False]
    risk.update(account=trading_pb2.Account(account_id="paper", gateway="SIM", realized_pnl="-650"))
    assert lost() == [True, True]
    tick("SIM", 20210104, 7, "e1")  # late
    assert lost() == [True, True]
    tick("SIM", 20210106, 8, "e1")
    assert lost() == [True, False], "a day of the replay begins though the live market is years ahead"
    risk.update(account=trading_pb2.Account(account_id="paper", gateway="SIM", realized_pnl="-850"))
    assert lost() == [True, True]
    tick("SIM", 20210104, 9, "e2")
    assert lost() == [True, False], "the replay begins again"
    assert [risk.portfolio.trading_days.of(market) for market in ("", "SIM")] == [20261124, 20210104]
