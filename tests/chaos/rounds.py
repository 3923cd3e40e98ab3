"""Rounds: clients trade, something breaks and is mended, and then logs, books, memory and venue must agree."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.audit import audit
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.topology import Embedded
from tests.chaos.trader import Trader
from tests.running import until

CLIENTS = 4
# A sane limit; the time itself is reported.
RECOVERED_S = 120.0
CALM_S = (0.3, 1.5)


@dataclass
class Round:
    """One fault, what happened meanwhile, and what was wrong afterwards."""

    number: int
    fault: str
    lasted_s: float
    recovered_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def faults_of(topology: Embedded, chance: random.Random) -> Iterator[Fault]:
    """Faults by chance, each before any comes again."""
    while True:
        yield from chance.sample(FAULTS[type(topology)], len(FAULTS[type(topology)]))


def play(topology: Embedded, rounds: int, seed: int, show: Callable[[Round], None] = lambda done: None) -> list[Round]:
    """Play so many rounds on a platform that is not started yet; it is stopped at the end."""
    chance = random.Random(seed)
    done: list[Round] = []
    traders: list[Trader] = []
    try:
        topology.begin()
        traders = [Trader(topology.url, f"trader{number}", seed * 100 + number) for number in range(CLIENTS)]
        for trader in traders:
            trader.register()
            trader.start()
            assert trader.follows.wait(60), "the stream of orders does not begin"
        for number, fault in zip(range(1, rounds + 1), faults_of(topology, chance), strict=False):
            done.append(_play_one(topology, traders, number, fault, chance))
            show(done[-1])
    finally:
        for trader in traders:
            trader.end()
        topology.stop()
    return done


def _play_one(topology: Embedded, traders: Sequence[Trader], number: int, fault: Fault, chance: random.Random) -> Round:
    before = _totals(traders)
    begun = time.monotonic()
    for trader in traders:
        trader.resume()
    _until_all_trade(traders, begun)
    time.sleep(chance.uniform(*CALM_S))
    broken = time.monotonic()
    mend = fault.begin(topology, chance)
    time.sleep(chance.uniform(*fault.lasts_s))
    ended = time.monotonic()
    mend()
    played = Round(number, fault.name, ended - broken)
    try:
        played.recovered_s = _until_all_trade(traders, ended) - ended
    except AssertionError:
        statuses = [dict(trader.record.statuses) for trader in traders]
        played.problems.append(f"not all trade again after {RECOVERED_S:g} s: {statuses}")
    for trader in traders:
        trader.pause()
    for trader in traders:
        played.problems += audit(trader)
    outcome = topology.verify()
    played.problems += [f"verify: {finding}" for finding in outcome.findings.kept]
    played.problems += [f"verify did not check {text}" for text in outcome.left_out]
    played.counts = _totals(traders) - before
    played.counts["trades"] = outcome.counts["trades"]
    return played


def _until_all_trade(traders: Sequence[Trader], since: float) -> float:
    """Time by which each had an order acknowledged that it asked for since then."""
    answered = until(
        lambda: None not in (times := [trader.acknowledged_since(since) for trader in traders]) and times,
        timeout_s=RECOVERED_S,
    )
    return max(answered)


def _totals(traders: Sequence[Trader]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for trader in traders:
        record = trader.record
        totals["asked"] += len(record.bodies)
        totals["acknowledged"] += len(record.acknowledged)
        totals["refused"] += len([key for key, reason in record.refused.items() if reason])
        totals["broken off"] += record.statuses[0] + sum(n for status, n in record.statuses.items() if status >= 500)
        totals["internal errors"] += record.statuses[500] + record.statuses[401]
    return totals


COLUMNS = ("asked", "acknowledged", "refused", "broken off", "internal errors", "trades")


def table(topology: Embedded, seed: int, rounds: Sequence[Round]) -> str:
    """The rounds as a table, and their sums."""
    lines = [f"{topology.name}, seed {seed}: trades are all so far, recovery is until each of {CLIENTS} clients trades"]
    lines.append(
        f"{'':>3} {'fault':26} {'lasted':>7} {'recovery':>9} " + " ".join(f"{name:>13}" for name in COLUMNS) + "  wrong"
    )
    for one in rounds:
        counts = " ".join(f"{one.counts[name]:>13}" for name in COLUMNS)
        times = f"{one.lasted_s:>6.2f}s {one.recovered_s:>8.2f}s"
        lines.append(f"{one.number:>3} {one.fault:26} {times} {counts}  {len(one.problems)}")
    worst = max((one.recovered_s for one in rounds), default=0.0)
    wrong = sum(len(one.problems) for one in rounds)
    lines.append(f"{len(rounds)} rounds, longest recovery {worst:.2f} s, {wrong} lost, doubled, stuck or wrong")
    return "\n".join(lines)
