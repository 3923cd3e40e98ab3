"""Faults for as long as one likes: `python -m tests.chaos --rounds 50 --seed 1`; `make chaos ROUNDS=50` is this.

A seed repeats the faults, their moments and what clients ask for; what then happens between processes does not repeat.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.rounds import Round, play, table
from tests.chaos.topology import Embedded, EmbeddedPostgres

TOPOLOGIES = {"sqlite": Embedded, "postgresql": EmbeddedPostgres}


def main() -> int:
    """Play the rounds; exit code 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="in all, shared by the platforms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", choices=TOPOLOGIES, help="only this platform")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    names = [asked.on] if asked.on else list(TOPOLOGIES)
    tables, wrong = [], 0
    for number, name in enumerate(names):
        rounds = asked.rounds // len(names) + (number < asked.rounds % len(names))
        folder = Path(tempfile.mkdtemp(prefix="rf-chaos-"))
        topology = TOPOLOGIES[name](folder)
        played = play(topology, rounds, asked.seed, _show)
        tables.append(table(topology, asked.seed, played))
        wrong += sum(len(one.problems) for one in played)
        if not wrong:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
    print("\n\n".join(tables))
    return 1 if wrong else 0


def _show(done: Round) -> None:
    print(f"{done.number:>3} {done.fault}: back after {done.recovered_s:.2f} s", file=sys.stderr, flush=True)
    for problem in done.problems:
        print(f"    {problem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
