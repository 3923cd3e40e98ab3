"""Runs seeds of the model one after the other for some minutes; prints what happened and each seed that failed."""

import argparse
import asyncio
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.market.model.driver import run


def main() -> None:
    """Run, and end with 1 if a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="about how long")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=1_000_000, help="number of seeds at most")
    parser.add_argument("--steps", type=int, default=300, help="steps of each")
    options = parser.parse_args()
    end, counts, failed = time.monotonic() + options.minutes * 60, Counter[str](), list[int]()
    for seed in range(options.seed, options.seed + options.runs):
        if time.monotonic() > end:
            break
        with tempfile.TemporaryDirectory(prefix="redfire-model-") as folder:
            try:
                ran = asyncio.run(run(seed, options.steps, Path(folder)))
                counts += ran
                print(f"seed {seed}: {_text(ran)}", flush=True)
            except Exception:
                failed.append(seed)
                print(f"seed {seed} failed:\n{traceback.format_exc()}", flush=True)
        counts["seeds"] += 1
    print(f"{counts['seeds']} seeds, {len(failed)} failed {failed}; {_text(counts)}")
    raise SystemExit(bool(failed))


def _text(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))


if __name__ == "__main__":
    main()
