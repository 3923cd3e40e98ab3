"""Sessions, settlement, expiry and margin calls, where trading.enforce_sessions keeps the exchanges' hours."""

from datetime import UTC, datetime
from decimal import Decimal as D

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import PositionEffect, Side

from services.kernel.clock import ManualClock
from tests.examples import examples
from tests.trading.books import Trader, instrument
from tests.trading.commits import ANSWER_LOST, NOTHING_DONE
from tests.trading.conftest import refused, trading
from tests.trading.fakes import SYMBOL, Peers
from tests.waiting import until

MONDAY, TUESDAY = 20260105, 20260106


def shanghai(hour, minute=0, day=5):
    return datetime(2026, 1, day, hour - 8, minute, tzinfo=UTC)


def sessions(peers=None, clock=None, **more):
    return trading(peers, clock=clock or ManualClock(shanghai(10)), enforce_sessions=True, **more)


async def hold(trader, quantity=1, price="4000", side="BUY"):
    order = await trader.create(side, quantity)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, quantity, price)
    await trader.becomes(order.order_id, "FILLED")


async def priced(trader, price):
    await until(lambda: trader.market.listeners)
    trader.market.price(SYMBOL, price)
    await until(lambda: _last_price(trader, price))


async def _last_price(trader, price):
    return all(D(position.last_price or 0) == D(str(price)) for position in await trader.positions())


async def settled(trader, kind=5):
    return [e for e in await trader.entries() if e.kind == kind and e.ledger_account.startswith("cash:")]


async def _yesterday(trader, quantity):
    try:
        positions = await trader.positions()
    except grpc.aio.AioRpcError:
        return False  # the books are being read anew
    return positions and positions[0].yesterday_quantity == quantity


async def _is_sent(trader):
    order = await trader.create()
    await trader.becomes(order.order_id, "NEW")
    return [sent.order_id for sent in trader.engine.sends] == [order.order_id]


async def test_outside_its_sessions_a_market_takes_no_orders_but_stops_that_wait():
    clock = ManualClock(shanghai(10))
    async with sessions(clock=clock) as trader:
        order = await trader.create()
        await trader.becomes(order.order_id, "NEW")
        for at in (shanghai(12), shanghai(16)):
            clock.advance((at - clock.now()).total_seconds())
            async with refused("MARKET_CLOSED"):
                await trader.create()
        stop = await trader.create(type="STOP", stop_price="4100")
        assert not (await trader.becomes(stop.order_id, "NEW")).triggered
        await trader.cancel(order.order_id)
        await trader.becomes(order.order_id, "CANCELED")
        assert [sent.order_id for sent in trader.engine.sends] == [order.order_id]


async def test_without_the_setting_and_in_a_replay_every_hour_is_open():
    clock = ManualClock(shanghai(20))
    async with trading(clock=clock) as trader:
        assert await _is_sent(trader)
    peers = Peers()
    peers.engine.trading_day = 20210104
    async with sessions(peers, clock) as trader:
        assert await _is_sent(trader)


async def test_a_recording_of_today_that_is_replayed_after_the_close_is_open():
    peers = Peers()
    peers.engine.recorded = True
    async with sessions(peers, ManualClock(shanghai(16))) as trader:
        assert await _is_sent(trader)


async def test_at_the_days_end_positions_are_marked_to_the_last_price_once_and_are_yesterdays(tmp_path):
    clock = ManualClock(shanghai(10))
    async with sessions(clock=clock, data_dir=tmp_path, user_id="u-1") as trader:
        await hold(trader, 2)
        await priced(trader, 4100.0)
        before = await trader.account()
        assert D(before.unrealized_pnl) == 60_000
        trader.engine.trading_day = TUESDAY
        clock.advance(hours=7, minutes=30)
        await until(lambda: _yesterday(trader, "2"))
        (entry,) = await until(lambda: settled(trader))
        assert D(entry.amount) == 60_000 and entry.reference == f"settlement:{SYMBOL}:1:{MONDAY}"
        account = await trader.account()
        assert D(account.balance) == D(before.balance) + 60_000 and account.unrealized_pnl == "0"
        assert account.equity == before.equity and D(account.margin) == 2 * 4100 * 300 * D("0.12")
        (position,) = await trader.positions()
        assert (position.average_price, position.realized_pnl) == ("4100", "60000")
    clock.advance(hours=16)
    trader.peers.engine.trading_day = TUESDAY
    async with sessions(trader.peers, clock, data_dir=tmp_path, user_id="u-1") as trader:
        order = await trader.create("SELL", 2, effect="CLOSE", price="4050")
        await trader.becomes(order.order_id, "NEW")
        trader.engine.fill(order.order_id, 2, "4050")
        await trader.becomes(order.order_id, "FILLED")
        account = await trader.account()
        assert account.realized_pnl == "30000" and len(await settled(trader)) == 1
        cash = sum((D(e.amount) for e in await trader.entries() if e.ledger_account.startswith("cash:")), D(0))
        assert D(account.balance) == cash == D(account.equity)


@pytest.mark.slow
async def test_a_power_cut_at_settlement_settles_each_position_once(commits):
    clock = ManualClock(shanghai(10))
    async with sessions(clock=clock) as trader:
        await hold(trader, 2)
        await priced(trader, 4100.0)
        cuts = []

        def cut(group):
            entries = [
                row for one in group for _, row in one.writes if row.get("kind") == 5 and "ledger_account" in row
            ]
            if not entries or len(cuts) == 2:
                return None
            cuts.append(entries)
            return NOTHING_DONE if len(cuts) == 1 else ANSWER_LOST

        commits.fault = cut
        trader.engine.trading_day = TUESDAY
        clock.advance(hours=7, minutes=30)
        await until(lambda: len(cuts) == 2, 10)
        await until(lambda: _settled_to(trader, 60_000), 10)
        await until(lambda: _yesterday(trader, "2"))
        account = await trader.account()
        cash = sum((D(e.amount) for e in await trader.entries() if e.ledger_account.startswith("cash:")), D(0))
        assert D(account.balance) == cash and account.realized_pnl == "60000"


async def _settled_to(trader, amount):
    try:
        return [D(e.amount) for e in await settled(trader)] == [amount]
    except grpc.aio.AioRpcError:
        return False  # the books are being read anew


async def test_days_that_the_platform_slept_through_are_settled_when_it_is_back(tmp_path):
    clock = ManualClock(shanghai(10))
    async with sessions(clock=clock, data_dir=tmp_path, user_id="u-1") as trader:
        await hold(trader)
    clock.advance(days=3)
    trader.peers.engine.trading_day = 20260108
    trader.peers.market.prices[SYMBOL] = 4020.0
    for _ in range(2):
        async with sessions(trader.peers, clock, data_dir=tmp_path, user_id="u-1") as trader:
            await until(lambda: _settled_once(trader))
            assert (await trader.account()).realized_pnl == "6000"


async def _settled_once(trader):
    return [D(e.amount) for e in await settled(trader)] == [6000]


async def test_after_its_last_day_a_contracts_orders_expire_and_its_positions_are_settled():
    peers, clock = Peers(), ManualClock(shanghai(10))
    real = peers.market.instrument

    def expiring(symbol):
        message = real(symbol)
        message.expire_date = "2026-01-05"
        return message

    peers.market.instrument = expiring
    async with sessions(peers, clock) as trader:
        await hold(trader, 2)
        resting = await trader.create(price="3900")
        close = await trader.create("SELL", effect="CLOSE", price="4300")
        for order in (resting, close):
            await trader.becomes(order.order_id, "NEW")
        stop = await trader.create(type="STOP", stop_price="4300")
        await priced(trader, 4040.0)
        trader.engine.trading_day = TUESDAY
        clock.advance(hours=7, minutes=30)
        for order in (resting, close, stop):
            done = await trader.becomes(order.order_id, "EXPIRED")
            assert done.reject_reason == 64, done
        await until(lambda: _flat(trader))
        trade = (await trader.trades())[0]
        assert (trade.order_id, trade.price, trade.quantity, trade.commission) == ("", "4040", "2", "0")
        account = await trader.account()
        assert (account.realized_pnl, account.margin, account.frozen) == ("24000", "0", "0")
        cash = sum((D(e.amount) for e in await trader.entries() if e.ledger_account.startswith("cash:")), D(0))
        assert D(account.balance) == cash
        async with refused("CONTRACT_EXPIRED"):
            await trader.create()


async def _flat(trader):
    return not await trader.positions()


async def test_a_margin_call_lets_only_reducing_orders_pass_until_the_equity_suffices():
    async with sessions(paper_cash="300000") as trader:
        calls = []

        async def called(event):
            calls.append((event.margin_call.begins, event.margin_call.equity, event.margin_call.margin))

        trader.platform.host.events.subscribe("trading.margin_call", called)
        await hold(trader)
        resting = await trader.create(price="3990")
        await trader.becomes(resting.order_id, "NEW")
        await priced(trader, 3470.0)
        await until(lambda: _margin_call(trader, True))
        done = await trader.becomes(resting.order_id, "CANCELED")
        assert done.reject_reason == 72
        async with refused("MARGIN_CALL"):
            await trader.create(price="3470")
        close = await trader.create("SELL", effect="CLOSE", price="3470")
        await trader.becomes(close.order_id, "NEW")
        await trader.cancel(close.order_id)
        await priced(trader, 4000.0)
        await until(lambda: _margin_call(trader, False))
        await trader.create(price="3990")
        await until(lambda: [begins for begins, _, _ in calls] == [True, False])
        assert D(calls[0][1]) == 300_000 - D("27.6") - 530 * 300 and D(calls[0][2]) == 144_000


async def _margin_call(trader, is_on):
    return (await trader.account()).margin_call is is_on


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_settlements_keep_ledger_positions_and_what_a_restart_makes_of_them_right(data):
    trader = Trader(instrument(), instrument("rb2610.SHFE", contract_size=D(10)))
    trader.cache.enforces_sessions = True
    day = 20260101
    trader.begin_day(day)
    for _ in range(data.draw(st.integers(1, 15))):
        action = data.draw(st.sampled_from(["open", "close", "fill", "day", "cancel", "price", "settle"]))
        symbol = data.draw(st.sampled_from(["IF2606.CFFEX", "rb2610.SHFE"]))
        resting = [order for order in trader.cache.orders.values() if order.legs]
        if action == "price":
            trader.cache.last_prices.of("SIM")[symbol] = D(data.draw(st.integers(1, 9000)))
        elif action == "day":
            day += 1
            trader.begin_day(day)
        elif action == "settle":
            changes = trader.step()
            for position in list(trader.account.positions.values()):
                trader.cache.roll(position, changes)
            trader.record(changes)
            assert all(p.today_quantity + p.yesterday_quantity == p.quantity for p in trader.account.positions.values())
        elif action == "open":
            trader.order(data.draw(st.sampled_from(Side)), data.draw(st.integers(1, 4)), symbol=symbol)
        elif action == "close":
            side = data.draw(st.sampled_from(Side))
            position = trader.account.positions.get((symbol, 2 if side is Side.BUY else 1))
            if position is not None and (closable := int(position.closable(PositionEffect.CLOSE))) > 0:
                quantity = data.draw(st.integers(1, closable))
                trader.order(side, quantity, effect=PositionEffect.CLOSE, symbol=symbol)
        elif resting and action == "fill":
            order = data.draw(st.sampled_from(resting))
            trader.fill(order, data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["3990", "4010.2"])), day)
        elif resting:
            trader.cancel(data.draw(st.sampled_from(resting)))
        trader.check()
