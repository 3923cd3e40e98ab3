"""Stalls of the machine, by which chaos tells a client that waits for the platform from one that nobody let run."""

import os
import signal
import subprocess
import sys
import time

from tests.chaos.stalls import LATE_S, STEP_S, Stalls
from tests.chaos.trader import Trader
from tests.running import until

WATCHES = """
import sys, time
from tests.chaos.stalls import Stalls
stalls = Stalls()
stalls.start()
print(flush=True)
sys.stdin.readline()
stalls.wake()
print(stalls.between(0, time.monotonic()), flush=True)
"""


def test_time_that_is_late_counts_where_it_was():
    now = [100.0]
    stalls = Stalls(lambda: now[0])
    for seconds in (STEP_S, STEP_S + LATE_S / 2, 5 + STEP_S, STEP_S, 2 + STEP_S):
        now[0] += seconds
        stalls.wake()
    assert round(stalls.between(0, 200), 3) == 7
    assert round(stalls.between(0, now[0] - 1), 3) == 6
    assert stalls.between(0, 100.1) == 0


def test_a_process_that_was_stopped_knows_for_how_long():
    watching = subprocess.Popen(
        [sys.executable, "-c", WATCHES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert watching.stdout.readline() == "\n"
        watching.send_signal(signal.SIGSTOP)
        until(lambda: os.waitid(os.P_PID, watching.pid, os.WSTOPPED | os.WNOHANG))
        stopped = time.monotonic()
        until(lambda: time.monotonic() - stopped > 1.0)
        watching.send_signal(signal.SIGCONT)
        stalled, _ = watching.communicate("\n", 60)
        assert float(stalled) > 1.0 - STEP_S - LATE_S
    finally:
        watching.kill()
        watching.wait()


def test_the_longest_gap_of_a_client_has_the_calls_that_filled_it():
    trader = Trader("http://127.0.0.1:1", "trader", 1)
    trader.acknowledgements.extend([(9.0, 9.5), (10.0, 10.5), (50.0, 52.0), (52.0, 52.5)])
    trader.tries.extend(
        [(9.0, 9.5, "POST before"), (10.6, 40.6, "PATCH 504"), (41.0, 42.0, "PATCH 504"), (50.0, 52.0, "POST 200")]
    )
    gap = trader.longest_gap(11.0, until=53.0)
    assert (gap.begun, gap.ended) == (10.5, 52.0)
    assert gap.text == "trader: 2 × PATCH 504 in 31.00 s, 1 × POST 200 in 2.00 s"
    assert trader.longest_gap(11.0, until=100.0).begun == 52.5
