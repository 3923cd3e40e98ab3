"""The model for a given time: `python -m tests.trading.model --minutes 60 --seed 1`.

One seed again: `--seed 7 --runs 1 --trace`; the least of it that fails: `--shrink`.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections import Counter

from tests.trading.model.driver import Model
from tests.trading.model.generate import operations, run, smaller


def main() -> int:
    """Run seeds, and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.trading.model", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=0, help="this many seeds instead of a time")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--steps", type=int, default=150, help="of each seed")
    parser.add_argument("--first", type=int, default=0, help="only so many of a seed's operations, then a settle")
    parser.add_argument("--trace", action="store_true", help="print each operation, and log lines")
    parser.add_argument("--shrink", action="store_true", help="make a failing run smaller")
    parser.add_argument("--stop", action="store_true", help="stop at the first failure")
    asked = parser.parse_args()
    # The order of sets is part of a run.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.trading.model", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    logging.basicConfig(level=logging.INFO if asked.trace else logging.ERROR, format="%(name)s: %(message)s")
    if not asked.trace:
        logging.getLogger().handlers[0].setLevel(logging.CRITICAL)
    for name in ("sqlalchemy", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what a killed run leaves
    end = time.monotonic() + asked.minutes * 60
    seed, failed, counts = asked.seed, {}, Counter()

    def note(model: Model) -> None:
        counts["steps"] += model.steps
        counts["kills"] += model.kills
        counts["orders"] += len(model.intents)
        counts["trades"] += len(model.venue.exchange.trades)
        counts["simulated seconds"] += int(model.loop.time())
        for name, number in model.venue.line.counts.items():
            counts[name] += number
        if asked.trace:
            print("\n".join(model.history))

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    while not stopping and (time.monotonic() < end or counts["seeds"] < asked.runs):
        ops = operations(seed, asked.steps)
        counts["seeds"] += 1
        violation = run(seed, ops, note)
        if violation is not None:
            failed[seed] = str(violation)
            print(f"seed {seed}: {violation}", flush=True)
            if asked.trace and violation.__cause__ is not None:
                logging.critical("raised", exc_info=violation.__cause__)
            if asked.shrink:
                ops = smaller(seed, ops)
                print(f"seed {seed} with {len(ops)} operations: {run(seed, ops)}")
                print("\n".join(f"    {op}," for op in ops), flush=True)
            if asked.stop:
                break
        seed += 1
    print(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    print(f"{len(failed)} seeds failed: {sorted(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
