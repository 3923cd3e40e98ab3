import asyncio
from datetime import UTC, datetime

import pytest

from services.engine.feeds.simulated import MOST_IN_TURN, SimFeed, SimMarket, restored_state
from services.kernel.clock import ManualClock
from services.quant.catalogue import Catalogue
from tests.simulated_time import SimulatedClock, in_simulated_time
from tests.waiting import until

DAY = 20261123


class Enough(Exception):
    """A feed has delivered what a test wants."""


def market(symbol="IF2612.CFFEX", seed=7, state=None):
    return SimMarket(Catalogue.load().find(symbol), seed, state)


def steps(m, count, start_ns=10**18, rate=10, day=DAY):
    return [m.step(1 / rate, start_ns + i * 10**9 // rate, day) for i in range(count)]


def test_the_same_seed_makes_the_same_market():
    assert steps(market(), 50) == steps(market(), 50)
    assert steps(market(seed=8), 50) != steps(market(seed=7), 50)


def test_every_quote_is_well_formed():
    for instrument in Catalogue.load().listed():
        tick = float(instrument.price_tick)
        volume = turnover = 0.0
        for quote in steps(market(instrument.symbol), 2000):
            assert len(quote.bids) == len(quote.asks) == 5
            assert quote.bids[0][0] < quote.asks[0][0]
            for prices in ([p for p, _ in quote.asks], [p for p, _ in reversed(quote.bids)]):
                assert prices == sorted(prices)
            for price, shown in (*quote.bids, *quote.asks):
                assert abs(price / tick - round(price / tick)) < 1e-6 and shown >= 1 and shown == int(shown)
                assert quote.limit_down <= price <= quote.limit_up
            assert quote.low_price <= quote.last_price <= quote.high_price
            assert quote.low_price <= quote.open_price <= quote.high_price
            assert quote.volume >= volume and quote.turnover >= turnover
            volume, turnover = quote.volume, quote.turnover


def test_a_stop_one_tick_above_the_ask_is_reached_within_thirty_seconds_nearly_always():
    quotes = steps(market("rb2701.SHFE"), 12_000)
    starts = range(0, len(quotes) - 300, 97)
    hit = sum(any(q.last_price > quotes[at].asks[0][0] for q in quotes[at + 1 : at + 300]) for at in starts)
    assert hit / len(starts) > 0.9


def test_a_new_trading_day_resets_its_statistics():
    m = market()
    last = steps(m, 100)[-1]
    first = m.step(0.1, 2 * 10**18, DAY + 1)
    assert first.pre_close_price == last.last_price
    assert first.volume == first.last_quantity > 0
    assert first.open_price == first.high_price == first.low_price == first.last_price
    assert first.trading_day == DAY + 1


async def test_prices_go_on_from_a_saved_state():
    clock = ManualClock(datetime(2026, 11, 23, 2, tzinfo=UTC))
    instruments = Catalogue.load().listed()
    feed = SimFeed(instruments, 7, clock, lambda: 10.0)
    first = [m.step(0.1, clock.now_ns(), DAY) for m in feed._markets for _ in range(500)]
    again = SimFeed(instruments, 7, clock, lambda: 10.0)
    again.restore(feed.state())
    for m, quote in zip(again._markets, first[499::500], strict=True):
        following = m.step(0.1, clock.now_ns(), DAY)
        assert abs(following.last_price - quote.last_price) < quote.last_price * 0.005
        assert following.volume >= quote.volume and following.open_price == quote.open_price
    assert restored_state({"steps": 1}) is None


@in_simulated_time
async def test_the_rate_follows_its_setting():
    rate = 20.0
    clock = SimulatedClock(asyncio.get_running_loop())
    feed = SimFeed(Catalogue.load().listed()[:1], 1, clock, lambda: rate)
    quotes = []

    async def capacity() -> None:
        """Return at once: there is always capacity."""

    task = asyncio.create_task(feed.run(quotes.append, capacity))
    await asyncio.sleep(10.01)
    slow = len(quotes)
    rate = 200.0
    await asyncio.sleep(10)
    task.cancel()
    assert slow == pytest.approx(1 + 10 * 20, abs=1)
    assert len(quotes) - slow == pytest.approx(10 * 200, rel=0.02)


async def test_a_rate_that_the_machine_cannot_keep_leaves_all_others_their_turn():
    clock = ManualClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    feed = SimFeed(Catalogue.load().listed(), 7, clock, lambda: 2000.0)
    turns = quotes = 0

    def deliver(quote):
        nonlocal quotes
        quotes += 1
        clock.advance(0.01)  # it takes so long
        if quotes == 1000:
            raise Enough
        return True

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def capacity():
        pass

    other = asyncio.create_task(others())
    with pytest.raises(Enough):
        await feed.run(deliver, capacity)
    assert turns > 500
    other.cancel()


async def test_a_clock_that_jumps_while_the_feed_waits_brings_no_flood():
    clock = ManualClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    feed = SimFeed(Catalogue.load().listed(), 7, clock, lambda: 2000.0)
    quotes = []

    async def capacity():
        pass

    run = asyncio.create_task(feed.run(quotes.append, capacity))
    await until(lambda: quotes)
    await asyncio.sleep(0)
    before = len(quotes)
    clock.advance(3600)
    await until(lambda: len(quotes) > before)
    run.cancel()
    assert len(quotes) - before <= 2 * MOST_IN_TURN
