"""All tables of the tick path, the order path, reading and history, one bench after the other: `make bench`."""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

BENCHES = (
    *("tick_path", "engine_to_subscriber", "fan_out", "streams", "order_path", "processes", "reading"),
    *("tick_to_order", "history"),
)
LIMIT_S = 600.0


def main() -> None:
    """Run each bench in a process of its own; one that fails or takes too long is named, and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, help="a script that measures vnpy.rpc instead of vnpy_peer.py")
    parser.add_argument("--only", choices=BENCHES, help="one of them")
    args = parser.parse_args()
    failed = []
    for bench in BENCHES:
        if args.only not in (None, bench) or find_spec(f"tests.bench.{bench}") is None:
            continue
        print(f"\n== {bench}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{bench}"]
        if bench == "fan_out" and args.baseline is not None:
            command += ["--baseline", str(args.baseline)]
        try:
            failed += [bench] if subprocess.run(command, timeout=LIMIT_S, check=False).returncode else []
        except subprocess.TimeoutExpired:
            failed.append(bench)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
