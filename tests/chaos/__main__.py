"""Faults for as long as one likes: `python -m tests.chaos --rounds 50 --seed 1`; `make chaos ROUNDS=50` is this.

A seed repeats the faults, their moments and what clients ask for; what then happens between processes does not repeat.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.disk import can_mount
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.rounds import play, table
from tests.chaos.topology import Embedded, EmbeddedPostgres, Replicated

TOPOLOGIES = {"sqlite": Embedded, "postgresql": EmbeddedPostgres, "replicated": Replicated}


def main() -> int:
    """Play the rounds; exit code 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="in all, shared by the platforms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", choices=TOPOLOGIES, help="only this platform")
    parser.add_argument("--fault", default="", help="only faults with this in their names; a|b: one of these")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    names = [name for name in TOPOLOGIES if asked.on in (None, name) and _faults(name, asked.fault)]
    tables, wrong = [], 0
    for number, name in enumerate(names):
        rounds = asked.rounds // len(names) + (number < asked.rounds % len(names))
        folder = Path(tempfile.mkdtemp(prefix="rf-chaos-"))
        topology = TOPOLOGIES[name](folder)
        played = play(topology, _faults(name, asked.fault), rounds, asked.seed, at_length=True)
        tables.append(table(topology, asked.seed, played))
        wrong += sum(len(one.problems) for one in played)
        if not wrong:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
    print("\n\n".join(tables))
    return 1 if wrong else 0


def _faults(platform: str, words: str) -> list[Fault]:
    """Faults with one of these words (`|` between them) in their names."""
    may_mount = can_mount()
    return [
        fault
        for fault in FAULTS[TOPOLOGIES[platform]]
        if any(word in fault.name for word in words.split("|")) and (may_mount or not fault.needs_mount)
    ]


if __name__ == "__main__":
    sys.exit(main())
