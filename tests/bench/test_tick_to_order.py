"""The bench of tick to order: its strategy writes down its orders from within the sandbox."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_each_hop_of_a_few_orders_is_printed() -> None:
    command = [sys.executable, "-m", "tests.bench.tick_to_order", "--count", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n5 orders, ms" in done.stdout and "tick to accepted order" in done.stdout
