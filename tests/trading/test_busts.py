"""Trades that a venue takes back or corrects: the books are as if they had never been, and show what was taken back."""

from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.enums import OrderStatus, PositionEffect, Side

from services.trading.domain.apply_reports import apply_trade_report
from services.trading.domain.bust import bust, correct
from services.trading.domain.report import FillReport, TradeKind
from tests.examples import examples
from tests.trading.books import D, Trader, instrument
from tests.trading.conftest import trading
from tests.waiting import until

REVERSAL = 6


async def _filled(trader, *args, price="4000", trade_id="", **kwargs):
    order = await trader.create(*args, price=price, **kwargs)
    await trader.becomes(order.order_id, "NEW")
    trader.engine.fill(order.order_id, order.quantity, price, trade_id)
    return await trader.becomes(order.order_id, "FILLED")


def _emit(trader, order_id, trade_id, kind, price="", quantity=""):
    order = trader.engine.orders[order_id]
    trader.engine.emit(
        trade={
            "gateway_name": "SIM", "order_id": order_id, "venue_order_id": order.venue_order_id, "kind": kind,
            "venue_trade_id": trade_id, "symbol": order.symbol, "price": price, "quantity": quantity,
        }
    )  # fmt: skip


async def test_a_busted_fill_leaves_the_position_and_its_money_comes_back(trader):
    order = await _filled(trader, quantity=2, trade_id="t1")
    for _ in range(2):  # reported twice, taken back once
        _emit(trader, order.order_id, "t1", 2)
    done = await trader.becomes(order.order_id, "CANCELED")
    assert done.cumulative_quantity == "0" and done.commission == "0"
    assert not await trader.positions()
    account = await trader.account()
    assert (account.balance, account.commission, account.margin) == ("1000000", "0", "0")
    (trade,) = await trader.trades()
    assert trade.busted
    entries = await trader.entries()
    assert len([e for e in entries if e.kind == REVERSAL]) == 2 and sum(D(e.amount) for e in entries) == 0
    trader.engine.emit(trade=trader.engine.trades[0])  # the fill itself, once more
    await _filled(trader, quantity=1)
    assert (await trader.positions())[0].quantity == "1"


async def test_a_corrected_fill_has_its_new_price_in_position_and_ledger(tmp_path):
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        order = await _filled(trader, quantity=2, trade_id="t1")
        _emit(trader, order.order_id, "t1", 3, "3990", "2")
        _emit(trader, order.order_id, "t1", 3, "3990", "2")
        (position,) = await until(lambda: _priced(trader, "3990"))
        assert position.quantity == "2"
        done = await trader.becomes(order.order_id, "FILLED")
        assert done.average_price == "3990" and done.cumulative_quantity == "2"
        new, old = await trader.trades()
        assert old.busted and not new.busted and new.corrects_trade_id == old.trade_id
        account = await trader.account()
        assert D(account.balance) == 1_000_000 - D(account.commission) and account.commission == new.commission
    trader.peers.engine.listeners.clear()
    async with trading(trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        _emit(trader, order.order_id, "t1", 2)
        await trader.becomes(order.order_id, "CANCELED")
        assert not await trader.positions() and (await trader.account()).balance == "1000000"


async def test_a_bust_that_overtakes_its_fill_takes_it_back_all_the_same(trader):
    order = await trader.create(quantity=2)
    await trader.becomes(order.order_id, "NEW")
    _emit(trader, order.order_id, "t1", 2)
    trader.engine.fill(order.order_id, 2, "4000", "t1")
    await trader.becomes(order.order_id, "CANCELED")
    assert not await trader.positions() and (await trader.account()).balance == "1000000"


async def test_a_trade_that_was_corrected_twice_keeps_its_last_price_when_all_is_reported_again(trader):
    order = await _filled(trader, quantity=2, trade_id="t1")
    for price in ("3990", "3980"):
        _emit(trader, order.order_id, "t1", 3, price, "2")
    await until(lambda: _priced(trader, "3980"))
    for price in ("3990", "3980"):
        _emit(trader, order.order_id, "t1", 3, price, "2")
    await _filled(trader, quantity=1, price="3980")  # by then all that was reported is booked
    assert len([trade for trade in await trader.trades() if trade.busted]) == 2
    assert (await trader.positions())[0].average_price == "3980"


async def _priced(trader, price):
    positions = await trader.positions()
    return positions if positions and positions[0].average_price == price else None


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_whatever_is_busted_or_corrected_the_books_agree(data):
    trader = Trader(instrument(), instrument("rb2610.SHFE", contract_size=D(10), price_tick=D(1)))
    day, reports = 20260105, {}
    trader.begin_day(day)
    for number in range(data.draw(st.integers(1, 10))):
        action = data.draw(st.sampled_from(["open", "open", "close", "roll", "bust", "correct"]))
        symbol = data.draw(st.sampled_from(list(trader.cache.instruments)))
        side, quantity = data.draw(st.sampled_from(Side)), data.draw(st.integers(1, 4))
        price = D(data.draw(st.integers(3900, 4100)))
        if action == "roll":
            day += 1
            trader.begin_day(day)
        elif action in ("open", "close"):
            effect = PositionEffect.OPEN
            if action == "close":
                effect = PositionEffect.CLOSE
                position = trader.account.positions.get((symbol, 2 if side is Side.BUY else 1))
                if position is None or position.closable(effect) < quantity:
                    continue
            order = trader.order(side, quantity, price, effect, symbol)
            for leg in order.legs:
                if part := data.draw(st.integers(0, int(leg.quantity))):
                    reference = order.reference(leg)
                    report = FillReport("SIM", reference, f"{reference}/{number}", symbol, price, D(part), 1, day)
                    changes = trader.step()
                    apply_trade_report(trader.cache, order, report, changes)
                    reports[changes.trades[0].trade_id] = report
                    trader.record(changes)
        else:
            live = [trade for trade in trader.trades if not trade.busted]
            if not live:
                continue
            trade = data.draw(st.sampled_from(live))
            order, changes = trader.orders[trade.order_id], trader.step()
            if action == "bust":
                bust(trader.cache, order, trade, changes)
            else:
                report = reports[trade.trade_id]
                new = FillReport(
                    "SIM", report.reference, f"{report.venue_trade_id}x", symbol=trade.symbol, price=price,
                    quantity=D(data.draw(st.integers(1, int(trade.quantity)))), time_ns=1, trading_day=day,
                    kind=TradeKind.CORRECTION,
                )  # fmt: skip
                correct(trader.cache, order, trade, new, number, changes)
                reports[changes.trades[0].trade_id] = new
            trader.record(changes)
        trader.check()


def _bust(trader, order, trade):
    changes = trader.step()
    bust(trader.cache, order, trade, changes)
    trader.record(changes)
    trader.check()


def _correct(trader, order, trade, price, quantity, day=20260105):
    reference = order.reference(order.legs[-1])
    report = FillReport("SIM", reference, trade.venue_trade_id, order.symbol, D(price), D(quantity), 1, day)
    changes = trader.step()
    correct(trader.cache, order, trade, report, 1, changes)
    trader.record(changes)
    trader.check()
    return trader.trades[-1]


def test_a_bust_of_what_an_open_order_traded_leaves_it_working():
    trader = Trader()
    order = trader.order(quantity=3)
    trader.fill(order, 1)
    _bust(trader, order, trader.trades[-1])
    assert order.status is OrderStatus.NEW and order.cumulative_quantity == 0


def test_a_busted_close_of_yesterdays_contracts_brings_yesterdays_back_whatever_its_order_was_sent_as():
    trader = Trader(instrument("rb2610.SHFE", contract_size=D(10), price_tick=D(1)))
    trader.begin_day(20260105)
    trader.fill(trader.order(quantity=3, symbol="rb2610.SHFE"), 3, day=20260105)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE, symbol="rb2610.SHFE")
    assert close.legs[0].position_effect is PositionEffect.CLOSE_TODAY
    trader.begin_day(20260106)  # SIM keeps it: what it closes is yesterday's by now
    trader.fill(close, 2, day=20260106)
    _bust(trader, close, trader.trades[-1])
    (position,) = trader.account.positions.values()
    assert (position.today_quantity, position.yesterday_quantity) == (0, 3)


def test_a_busted_close_of_todays_contracts_brings_todays_back_where_the_exchange_decides_which_it_closes():
    trader = Trader()
    trader.begin_day(20260105)
    trader.fill(trader.order(quantity=1), 1, day=20260105)
    trader.begin_day(20260106)
    trader.fill(trader.order(quantity=2), 2, day=20260106)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE)
    trader.fill(close, 2, day=20260106)  # yesterday's one, and one of today's
    _bust(trader, close, trader.trades[-1])
    (position,) = trader.account.positions.values()
    assert (position.today_quantity, position.yesterday_quantity) == (2, 1)


def test_a_corrected_close_closes_the_same_contracts_again():
    trader = Trader(instrument("rb2610.SHFE", contract_size=D(10), price_tick=D(1)))
    trader.begin_day(20260105)
    trader.fill(trader.order(quantity=3, symbol="rb2610.SHFE"), 3, day=20260105)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE, symbol="rb2610.SHFE")
    trader.begin_day(20260106)  # SIM keeps it: what it closes is yesterday's by now
    trader.fill(close, 2, day=20260106)
    trader.fill(trader.order(quantity=2, symbol="rb2610.SHFE"), 2, day=20260106)
    trade = next(trade for trade in trader.trades if trade.order_id == close.order_id)
    new = _correct(trader, close, trade, "4001", 2, day=20260106)
    (position,) = trader.account.positions.values()
    assert (position.today_quantity, position.yesterday_quantity) == (2, 1)
    assert new.commission == instrument("rb2610.SHFE", contract_size=D(10)).commission(D(4001), D(2), D(0))


def test_a_close_that_is_corrected_a_day_later_closes_nothing_of_that_day():
    trader = Trader(instrument("rb2610.SHFE", contract_size=D(10), price_tick=D(1)))
    trader.begin_day(20260105)
    trader.fill(trader.order(quantity=3, symbol="rb2610.SHFE"), 3, day=20260105)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE, symbol="rb2610.SHFE")
    trader.fill(close, 2, day=20260105)
    trade = trader.trades[-1]
    trader.begin_day(20260106)
    trader.fill(trader.order(quantity=2, symbol="rb2610.SHFE"), 2, day=20260106)
    new = _correct(trader, close, trade, "4001", 2)
    (position,) = trader.account.positions.values()
    assert (position.today_quantity, position.yesterday_quantity) == (2, 1)
    same_day = instrument("rb2610.SHFE", contract_size=D(10)).commission(D(4001), D(2), D(2))
    assert new.commission == same_day and trade.commission < same_day


def test_the_corrected_price_of_what_was_closed_since_is_realised_and_no_position_appears():
    trader = Trader()
    trader.begin_day(20260105)
    entry = trader.order(quantity=1)
    trader.fill(entry, 1, "4001", day=20260105)
    (trade,) = trader.trades
    trader.begin_day(20260106)
    trader.fill(trader.order(Side.SELL, 1, effect=PositionEffect.CLOSE), 1, "4001", day=20260106)
    new = _correct(trader, entry, trade, "4004", 1)
    assert not trader.account.positions and trader.account.realized_pnl == -900
    _bust(trader, entry, new)  # now it was never opened, and its close is missing
    (short,) = trader.account.positions.values()
    assert (short.side, short.quantity) == (2, 1)


def test_a_correction_of_what_was_partly_closed_since_counts_for_what_is_held_and_for_what_was_closed():
    trader = Trader()
    trader.begin_day(20260105)
    entry = trader.order(quantity=3)
    trader.fill(entry, 3, "4001", day=20260105)
    trade = trader.trades[0]
    trader.fill(trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE), 2, "4001", day=20260105)
    _correct(trader, entry, trade, "4004", 3)
    (position,) = trader.account.positions.values()
    assert (position.side, position.quantity, position.average_price) == (1, 1, 4004)
    assert trader.account.realized_pnl == position.realized_pnl == -1800


def test_an_entry_corrected_to_less_than_was_closed_of_it_leaves_the_rest_on_the_other_side():
    trader = Trader()
    trader.begin_day(20260105)
    entry = trader.order(quantity=3)
    trader.fill(entry, 3, "4001", day=20260105)
    trade = trader.trades[0]
    trader.fill(trader.order(Side.SELL, 3, effect=PositionEffect.CLOSE), 3, "4001", day=20260105)
    _correct(trader, entry, trade, "4004", 1)
    (position,) = trader.account.positions.values()
    assert (position.side, position.quantity) == (2, 2)


def test_a_corrected_entry_leaves_what_a_working_close_holds_of_it():
    trader = Trader()
    trader.begin_day(20260105)
    entry = trader.order(quantity=2)
    trader.fill(entry, 2, "4001", day=20260105)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE)
    _correct(trader, entry, trader.trades[0], "4004", 2)
    (position,) = trader.account.positions.values()
    assert close.hold_today + close.hold_yesterday == position.frozen_quantity == 2
    assert position.average_price == 4004


def test_a_working_close_whose_fill_is_corrected_holds_what_is_left_of_it():
    trader = Trader()
    trader.begin_day(20260105)
    trader.fill(trader.order(quantity=3), 3, "4001", day=20260105)
    close = trader.order(Side.SELL, 2, effect=PositionEffect.CLOSE)
    trader.fill(close, 1, "4002", day=20260105)
    _correct(trader, close, trader.trades[-1], "4005", 1)
    (position,) = trader.account.positions.values()
    assert position.quantity == 2
    assert close.hold_today + close.hold_yesterday == position.frozen_quantity == close.leaves_quantity == 1
    assert trader.account.realized_pnl == 1200
