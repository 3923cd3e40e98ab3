"""Symbols that are silent for too long: by what is usual for each, in its sessions, and never by recordings."""

from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.kernel.clock import ManualClock
from services.market.ticks.staleness import CAP_S, FACTOR, FLOOR_S, MOST_LOOKS, Staleness
from services.quant.calendar import Calendar

IF, RB, COIN = "IF2601.CFFEX", "rb2605.SHFE", "BTCUSDT.BINANCE"
CALENDAR = Calendar.load()
MORNING = "2026-01-05 09:30:00"  # a Monday


class Market:
    """Symbols that tick at intervals of their own while the test turns the clock, second by second."""

    def __init__(self, *symbols: str, begin: str = MORNING) -> None:
        self.clock = ManualClock(datetime.fromisoformat(f"{begin}+08:00"))
        self.sequences = dict.fromkeys(symbols, 0)
        self.intervals_s: dict[str, float] = {}
        self.changes: list[set[str]] = []
        self.looks = 0
        self._next_s: dict[str, float] = {}
        self.staleness = Staleness(
            CALENDAR, self.clock, self.sequence_of, lambda stale: self.changes.append(set(stale))
        )
        self.staleness.follow(symbols)

    def sequence_of(self, symbol: str) -> int:
        self.looks += 1
        return self.sequences[symbol]

    def ticks(self, symbol: str, every_s: float | None) -> None:
        """Let a symbol tick so often from now on; None: not any more."""
        self.intervals_s.pop(symbol, None)
        if every_s is not None:
            self.intervals_s[symbol] = every_s
            self._next_s[symbol] = self.clock.monotonic() + every_s

    def run(self, seconds: float) -> set[str]:
        """Let time pass; the stale symbols then."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            for symbol, every_s in self.intervals_s.items():
                while self._next_s[symbol] <= self.clock.monotonic():
                    self.sequences[symbol] += 1
                    self._next_s[symbol] += every_s
            self.staleness.sweep()
        return set(self.staleness.stale)

    def until_stale(self, symbol: str, most_s: float) -> int:
        """Seconds until the symbol is stale."""
        for second in range(int(most_s)):
            if symbol in self.run(1):
                return second
        raise AssertionError(f"{symbol} is not stale after {most_s} s")


def test_a_symbol_that_falls_silent_is_stale_once_and_again_fresh_with_its_next_tick() -> None:
    market = Market(IF, RB)
    for symbol in (IF, RB):
        market.ticks(symbol, 0.5)
    assert market.run(300) == set()
    market.ticks(IF, None)
    assert FLOOR_S <= market.until_stale(IF, 60) <= FLOOR_S * 2
    market.run(100)
    market.ticks(IF, 0.5)
    market.run(2)
    assert market.changes == [{IF}, set()]


def test_usual_is_what_the_symbol_shows_itself() -> None:
    market = Market(IF, RB)
    market.ticks(IF, 0.5)
    market.ticks(RB, 20)
    market.run(900)
    for symbol in (IF, RB):
        market.ticks(symbol, None)
    market.until_stale(IF, 60)
    usual = 20 * FACTOR
    assert usual * 0.7 <= market.until_stale(RB, 2 * usual) <= usual * 1.5


def test_a_symbol_of_which_little_was_seen_is_not_judged() -> None:
    market = Market(RB)
    market.ticks(RB, 60)
    market.run(300)
    market.ticks(RB, None)
    assert market.run(CAP_S + 600) == set()


def test_an_outage_does_not_become_usual() -> None:
    market = Market(COIN)
    for _ in range(3):
        market.ticks(COIN, 0.5)
        market.run(120)
        market.ticks(COIN, None)
        assert market.until_stale(COIN, 60) <= FLOOR_S * 2
        market.run(900)


@pytest.mark.parametrize(
    ("begin", "until"),
    [("2026-01-05 10:05:00", "10:29"), ("2026-01-05 11:20:00", "13:29"), ("2026-01-05 14:50", "20:59")],
)
def test_silence_between_sessions_is_usual_and_does_not_count_in_the_next(begin: str, until: str) -> None:
    market = Market(RB, begin=begin)
    market.ticks(RB, 0.5)
    market.run(595)
    market.ticks(RB, None)
    end = datetime.fromisoformat(f"{begin[:10]} {until}:30+08:00")
    assert market.run((end - market.clock.now()).total_seconds()) == set()
    market.ticks(RB, 0.5)
    market.run(120)
    assert market.changes == []


def test_a_symbol_that_is_silent_from_a_sessions_begin_on_is_stale() -> None:
    market = Market(RB, begin="2026-01-05 10:05:00")
    market.ticks(RB, 0.5)
    market.run(595)
    market.ticks(RB, None)
    assert 15 * 60 <= market.until_stale(RB, 30 * 60) <= 15 * 60 + 3 * FLOOR_S


def test_a_stale_symbol_is_not_stale_any_more_when_its_session_ends() -> None:
    market = Market(RB, begin="2026-01-05 10:00:00")
    market.ticks(RB, 0.5)
    market.run(600)
    market.ticks(RB, None)
    market.run(600)
    assert market.changes == [{RB}, set()]


def test_while_the_feed_is_lost_nothing_is_stale_and_silence_begins_anew_behind_it() -> None:
    market = Market(COIN)
    market.ticks(COIN, 0.5)
    market.run(120)
    market.ticks(COIN, None)
    market.until_stale(COIN, 60)
    market.staleness.set_connected(False)
    assert market.changes == [{COIN}, set()]
    assert market.run(600) == set()
    market.staleness.set_connected(True)
    assert market.until_stale(COIN, 60) >= FLOOR_S - 1


def test_a_symbol_that_is_followed_no_more_is_not_stale() -> None:
    market = Market(COIN, IF)
    market.ticks(COIN, 0.5)
    market.run(120)
    market.ticks(COIN, None)
    market.until_stale(COIN, 60)
    market.staleness.follow([IF])
    assert market.changes == [{COIN}, set()]
    market.staleness.follow([COIN, IF])
    assert market.run(600) == set()


def test_another_epochs_sequences_teach_nothing() -> None:
    market = Market(COIN)
    market.ticks(COIN, 20)
    market.run(900)
    market.sequences[COIN] += 10**15
    market.run(60)
    market.ticks(COIN, None)
    assert market.until_stale(COIN, 2000) >= 20 * FACTOR * 0.7


def test_quiet_symbols_cost_little_and_many_that_are_due_at_once_are_spread() -> None:
    symbols = [f"c{n}.BINANCE" for n in range(3 * MOST_LOOKS)]
    market = Market(*symbols)
    most = 0
    for _ in range(120):
        before = market.looks
        market.run(1)
        most = max(most, market.looks - before)
    assert most <= MOST_LOOKS
    assert market.looks <= len(symbols) * (1 + 120 / 14)


@settings(max_examples=60, deadline=None)
@example(every_s=5.0, plan=[(False, 126), (False, 335)])
@given(
    every_s=st.sampled_from([0.5, 1.0, 5.0]),
    plan=st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=8),
)
def test_what_ticks_as_usual_is_never_stale_and_what_is_silent_for_twice_its_usual_always_is(
    every_s: float, plan: list[tuple[bool, int]]
) -> None:
    market = Market(COIN)
    market.ticks(COIN, every_s)
    market.run(every_s * 40 + 60)
    limit_s = max(every_s * FACTOR, FLOOR_S)
    for ticking, seconds in plan:
        market.ticks(COIN, every_s if ticking else None)
        stale = market.run(seconds)
        if ticking and seconds >= 2 * every_s + 2:
            assert stale == set()
        market.ticks(COIN, every_s)
        market.run(every_s * 10 + 2)
        assert market.staleness.stale == set()
    market.run(limit_s * 20)
    market.ticks(COIN, None)
    assert COIN in market.run(limit_s * 2.5 + 5)
    assert all(before != after for before, after in zip(market.changes, market.changes[1:], strict=False))
