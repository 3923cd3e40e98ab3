"""Rounds: clients trade, something breaks and is mended, and then logs, books, memory and venue must agree."""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.kernel.errors import StartError
from tests.chaos.audit import audit
from tests.chaos.faults import Fault
from tests.chaos.stalls import Stalls
from tests.chaos.topology import Embedded
from tests.chaos.trader import Trader
from tests.running import until

CLIENTS = 4
# A sane limit; the time itself is reported.
RECOVERED_S = 300.0
CALM_S = (0.3, 1.5)
LONG_GAP_S = 5.0
"""A gap whose calls are told."""


@dataclass
class Round:
    """One fault, what happened meanwhile, and what was wrong afterwards."""

    number: int
    fault: str
    lasted_s: float
    gap_s: float = 0.0
    """The longest time that a client was without an acknowledgement, from the fault until all trade again."""
    gap: str = ""
    """The client, and what it asked for in that time."""
    stalled_s: float = 0.0
    """Time of it in which the machine ran nothing of this run."""
    recovered_s: float = 0.0
    settled_s: float = 0.0
    """Time from the fault's end until all was there and had been compared."""
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def by_chance(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """Faults by chance, each before any comes again."""
    while True:
        yield from chance.sample(faults, len(faults))


def play(
    topology: Embedded,
    faults: Sequence[Fault],
    rounds: int,
    seed: int,
    at_length: bool = False,
) -> list[Round]:
    """Play so many rounds of these faults on a platform that is not started yet; it is stopped at the end."""
    chance = random.Random(seed)
    done: list[Round] = []
    traders: list[Trader] = []
    stalls = Stalls()
    stalls.start()
    try:
        topology.begin()
        traders = [Trader(topology.url, f"trader{number}", seed * 100 + number) for number in range(CLIENTS)]
        for trader in traders:
            trader.register()
            trader.start()
            assert trader.follows.wait(60), "the stream of orders does not begin"
        for number, fault in zip(range(1, rounds + 1), by_chance(faults, chance), strict=False):
            lasts_s = fault.at_length_s if at_length and fault.at_length_s else fault.lasts_s
            done.append(_play_one(topology, traders, number, fault, lasts_s, chance, stalls))
            _show(done[-1])
    finally:
        for trader in traders:
            trader.end()
        topology.stop()
        stalls.end()
    return done


def _show(done: Round) -> None:
    print(
        f"{time.strftime('%T')} {done.number:>3} {done.fault}: lasted {done.lasted_s:.2f} s, back after "
        f"{done.recovered_s:.2f} s, {done.counts['acknowledged']} acknowledged",
        file=sys.stderr,
        flush=True,
    )
    if done.gap_s > LONG_GAP_S:
        stalled = f", {done.stalled_s:.2f} s of them stalled" if done.stalled_s else ""
        print(f"    {done.gap_s:.2f} s without an acknowledgement{stalled}, {done.gap}", file=sys.stderr, flush=True)
    for problem in done.problems:
        print(f"    {problem}", file=sys.stderr, flush=True)


def _play_one(
    topology: Embedded,
    traders: Sequence[Trader],
    number: int,
    fault: Fault,
    lasts_s: tuple[float, float],
    chance: random.Random,
    stalls: Stalls,
) -> Round:
    before = _totals(traders)
    begun = time.monotonic()
    for trader in traders:
        trader.resume()
    _until_all_trade(traders, begun)
    time.sleep(chance.uniform(*CALM_S))
    broken, broken_at = time.monotonic(), time.time()
    mend = fault.begin(topology, chance)
    time.sleep(chance.uniform(*lasts_s))
    ended = time.monotonic()
    mend()
    played = Round(number, fault.name, ended - broken)
    try:
        played.recovered_s = _until_all_trade(traders, ended) - ended
    except AssertionError:
        statuses = [dict(trader.record.statuses) for trader in traders]
        played.problems.append(f"not all trade again after {RECOVERED_S:g} s: {statuses}")
    now = time.monotonic()
    gap = max((trader.longest_gap(broken, now) for trader in traders), key=lambda one: one.length_s)
    played.gap_s, played.gap, played.stalled_s = gap.length_s, gap.text, stalls.between(gap.begun, gap.ended)
    for trader in traders:
        trader.pause()
    if not _is_whole_again(topology):
        played.problems.append(f"not all is there again after {RECOVERED_S:g} s")
    played.problems += topology.strategy_problems(RECOVERED_S)
    for trader in traders:
        played.problems += audit(trader)
    try:
        outcome = topology.verify()
    except StartError as error:
        played.problems.append(f"verify: {error}")
    else:
        played.problems += [f"verify: {finding}" for finding in outcome.findings.kept]
        played.problems += [f"verify did not check {text}" for text in outcome.left_out]
        played.counts["trades"] = outcome.counts["trades"]
    played.problems += fault.problems(topology, broken_at)
    played.settled_s = time.monotonic() - ended
    played.counts += _totals(traders) - before
    if fault.is_unseen and (failed := played.counts["given up"]):
        calls = [call for trader in traders for call in trader.record.given_up]
        played.problems.append(f"{failed} calls failed in spite of the retry policy, of these so far: {calls}")
    return played


def _is_whole_again(topology: Embedded) -> bool:
    try:
        return bool(until(topology.is_whole, timeout_s=RECOVERED_S, step_s=0.2))
    except AssertionError:
        return False


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
        totals["given up"] += len(record.given_up)
    return totals


COLUMNS = ("asked", "acknowledged", "refused", "broken off", "given up", "trades")


def table(topology: Embedded, seed: int, rounds: Sequence[Round]) -> str:
    """The rounds as a table, and their sums."""
    lines = [
        f"{topology.name}, seed {seed}: gap is the longest time of a client without an acknowledgement, stalled as "
        f"much of it as the machine ran nothing of this run, recovery until each of {CLIENTS} trades, settled until "
        "all is compared; trades are all so far"
    ]
    lines.append(
        f"{'':>3} {'fault':27} {'lasted':>7} {'gap':>7} {'stalled':>8} {'recovery':>9} {'settled':>8} "
        + " ".join(f"{name:>13}" for name in COLUMNS)
        + "  wrong"
    )
    for one in rounds:
        counts = " ".join(f"{one.counts[name]:>13}" for name in COLUMNS)
        times = f"{one.lasted_s:>6.2f}s {one.gap_s:>6.2f}s {one.stalled_s:>7.2f}s "
        times += f"{one.recovered_s:>8.2f}s {one.settled_s:>7.2f}s"
        lines.append(f"{one.number:>3} {one.fault:27} {times} {counts}  {len(one.problems)}")
    worst = max((one.recovered_s for one in rounds), default=0.0)
    wrong = sum(len(one.problems) for one in rounds)
    lines.append(f"{len(rounds)} rounds, longest recovery {worst:.2f} s, {wrong} lost, doubled, stuck or wrong")
    return "\n".join(lines)
