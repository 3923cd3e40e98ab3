"""Feeds for property tests: ticks, watermarks and epochs in any order that a feed may bring them in."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import strategies as st
from redfire.market.v1 import market_pb2 as pb

from services.quant.bars import Bar
from tests.market.ticks import at, tick
from tests.quant.bars.made import CLOCK, Made

SECOND_NS = 1_000_000_000
SYMBOLS = {"rb2405.SHFE": "CTP", "IF2612.CFFEX": "CTP", "BTCUSDT.BINANCE": "OTHER"}
FRIDAY = date(2026, 11, 20)
TIMES = ("09:29:00", "09:30:00", "10:14:58", "11:29:58", "13:30:00", "14:59:57", "16:59:50", "21:00:00", "22:59:58")
NO_PRICES = (0.0, 1.7976931348623157e308, float("nan"), float("inf"), -1.0)


@dataclass(frozen=True)
class Watermark:
    """A gateway's time."""

    gateway: str
    time_ns: int


@dataclass(frozen=True)
class Epoch:
    """The feed begins anew."""

    name: str


Event = pb.Tick | Watermark | Epoch


@st.composite
def events(draw: st.DrawFn, epochs: bool = False) -> list[Event]:
    """Ticks of three symbols, mostly in order, with pauses, days, late ones, missing prices, gaps and watermarks."""
    made: list[Event] = []
    now_ns, epoch = at(f"{FRIDAY} {draw(st.sampled_from(TIMES))}"), 0
    sequences = dict.fromkeys(SYMBOLS, 0)
    volumes: dict[tuple[str, int], float] = defaultdict(float)
    for _ in range(draw(st.integers(1, 60))):
        step = draw(st.integers(0, 11))
        if step == 0:
            now_ns += draw(st.integers(1, 30)) * 60 * SECOND_NS
        elif step == 1:
            day = date.fromisoformat(f"{CLOCK.date_number(now_ns)}") + timedelta(draw(st.integers(0, 3)))
            now_ns = max(now_ns, at(f"{day} {draw(st.sampled_from(TIMES))}"))
        elif step == 2:
            made.append(
                Watermark(draw(st.sampled_from(["CTP", "OTHER"])), now_ns - draw(st.integers(0, 3)) * SECOND_NS)
            )
        elif step == 3 and epochs:
            epoch += 1
            made.append(Epoch(f"e{epoch}"))
            sequences = {symbol: last + 1000 for symbol, last in sequences.items()}
            now_ns -= draw(st.sampled_from([0, 0, 3600, 90_000])) * SECOND_NS
            if draw(st.booleans()):
                volumes.clear()
        else:
            now_ns += draw(st.integers(0, 40)) * SECOND_NS // 2
            symbol = draw(st.sampled_from(sorted(SYMBOLS)))
            day = CLOCK.trading_day(symbol, now_ns)
            traded = float(draw(st.sampled_from([0, 0, 1, 2, 5])))
            volumes[symbol, day] += traded
            sequences[symbol] += draw(st.sampled_from([1, 1, 1, 1, 7]))
            one = tick(
                sequences[symbol],
                symbol,
                time_ns=now_ns,
                gateway=SYMBOLS[symbol],
                last_price=float(draw(st.integers(90, 110))),
                last_quantity=traded,
                volume=volumes[symbol, day],
                turnover=volumes[symbol, day] * 100,
                trading_day=draw(st.sampled_from([day, day, day, 0, 20261332])),
            )
            match draw(st.integers(0, 9)):
                case 0:
                    one.last_price = draw(st.sampled_from(NO_PRICES))
                case 1:  # late: of an earlier time, with less volume
                    one.time_ns -= draw(st.integers(1, 400)) * SECOND_NS
                    one.volume = max(one.volume - draw(st.integers(1, 9)), 0.0)
                case 2:
                    one.volume = draw(st.sampled_from([float("nan"), 1.7976931348623157e308]))
            made.append(one)
    return made


def apply(made: Made, sequence: list[Event]) -> None:
    """Apply events, ticks that follow each other as one batch."""
    batch: list[pb.Tick] = []
    for event in sequence:
        if isinstance(event, pb.Tick):
            batch.append(event)
            continue
        made.bars.on_ticks(batch)
        batch = []
        if isinstance(event, Watermark):
            made.bars.on_watermark(event.gateway, event.time_ns)
        else:
            made.bars.begin_epoch(event.name)
    made.bars.on_ticks(batch)


def by_symbol(bars: list[Bar]) -> dict[str, list[Bar]]:
    found: dict[str, list[Bar]] = defaultdict(list)
    for bar in bars:
        found[bar.symbol].append(bar)
    return found
