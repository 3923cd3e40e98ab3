"""From a tick to an accepted order, hop by hop, on a running platform with a strategy worker.

    .venv/bin/python -m tests.bench.tick_to_order

Starts `redfire up` with the simulated feed in a temporary folder. A gateway's thread sends ticks of one symbol beside
those of SIM; a strategy in its worker process sends a limit order, far from the market, at each. Hops: the gateway's
thread to the engine's stream, to market's hub, to the strategy's on_tick, to trading, to the submission of the order's
commit, to its end on the disk, to the answer of CreateOrder. A hop's time is the difference of two readings of the
machine's one monotonic clock. The CPU is that of both processes while the orders are sent, for each order, less what
the platform takes without any. Prints figures, asserts nothing.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
import yaml

from services.quant.catalogue import Catalogue
from tests.bench.order_path import Platform, trader
from tests.bench.tick_gateway import MARK

WARM_UP = 50
REST_S = 5.0
HOPS = (
    "gateway's thread to engine", "engine to market", "market to on_tick", "on_tick to trading", "checks and risk",
    "commit", "commit to accepted",
)  # fmt: skip
TARGET_MS = {"p50": 3.0, "p99": 10.0}
STRATEGY = '''
import json
import os
import time

from services.strategy import BaseStrategy
from services.strategy.runner.live_broker import LiveBroker


class TickToOrder(BaseStrategy):
    """Sends an order at each of so many marked ticks, and writes down when its answer came."""

    parameters = ["count", "mark", "price"]
    count = 100
    mark = 0
    price = 0.0
    written = False
    bar_seconds = 0

    async def start(self):
        self.ticks, self.answers = {}, {}
        accepted, answers, numbers = LiveBroker._accepted, self.answers, {}
        self.numbers = numbers

        def note(broker, order):
            answers[numbers.get(order.client_order_id, 0)] = time.perf_counter_ns()
            accepted(broker, order)

        LiveBroker._accepted = note

    async def on_tick(self, tick):
        if tick.last_quantity != self.mark:
            return
        now, number = time.perf_counter_ns(), int(tick.open_interest)
        if len(self.ticks) < self.count:
            if not self.ticks:
                self.cpu_s = time.process_time()
            self.ticks[number] = (tick.pre_close_price, now)
            self.numbers[await self.buy(self.price, 1)] = number
        elif not self.written:
            cpu_s = time.process_time() - self.cpu_s
            # In its working folder, the one place where the sandbox lets it write.
            with open("orders.part", "w") as file:
                orders = {number: order for order, number in self.numbers.items()}
                json.dump({"ticks": self.ticks, "answers": self.answers, "orders": orders, "cpu_s": cpu_s}, file)
            os.replace("orders.part", "orders.json")
            self.written = True
'''


def instrument() -> tuple[str, float, float]:
    """(symbol, the price about which SIM's market moves, one far below it) of a contract that is listed today."""
    one = next(one for one in Catalogue.load("").listed() if one.symbol.startswith("rb") and one.simulated)
    price = float(one.simulated.price)
    return one.symbol, price, round(price * 0.96)


async def start_strategy(
    session: aiohttp.ClientSession, url: str, token: str, symbol: str, parameters: dict[str, object]
) -> str:
    """Create the strategy and start it; the address of its log."""
    headers = {"authorization": f"Bearer {token}"}
    body = {"className": "TickToOrder", "symbol": symbol, "parameters": parameters}
    async with session.post(url, json=body, headers=headers) as answer:
        created = await answer.json()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {created}")
    one = f"{url}/{created['strategy']['strategyId']}"
    async with session.post(f"{one}:start", json={}, headers=headers) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")
    return f"{one}/logs"


async def run(args: argparse.Namespace, platform: Platform) -> tuple[dict[str, Any], float, float]:
    """Let the strategy send its orders.

    What it wrote down; the platform's seconds of CPU for each order, and a second without any.
    """
    edge, _ = platform.addresses()
    async with aiohttp.ClientSession() as session:
        token, _, _ = await trader(session, edge)
        count = args.count + WARM_UP
        symbol, _, price = instrument()
        parameters = {"count": count, "mark": MARK, "price": price}
        before_s = platform.cpu_s()
        await asyncio.sleep(REST_S)
        rest = (platform.cpu_s() - before_s) / REST_S
        logs = await start_strategy(session, f"http://{edge}/api/strategies", token, symbol, parameters)
        began, before_s = time.monotonic(), platform.cpu_s()
        while not (written := list(platform.folder.glob("data/strategy/home/**/orders.json"))):
            if time.monotonic() - began > 30 + 2 * count / args.rate:
                async with session.get(logs, headers={"authorization": f"Bearer {token}"}) as answer:
                    raise SystemExit(f"the strategy sent no {count} orders:\n{await answer.text()}")
            await asyncio.sleep(0.05)
        cpu_s = (platform.cpu_s() - before_s - rest * (time.monotonic() - began)) / count
        return json.loads(written[0].read_text()), cpu_s, rest


def table(stamps: Sequence[Sequence[float]]) -> None:
    """Print the hops of these ticks; each has the times of its hops' ends in ns, and of the beginning."""

    def row(name: str, times_ms: Sequence[float], whole_ms: float) -> None:
        ranked = sorted(times_ms)
        p50, p99 = (ranked[int((len(ranked) - 1) * part)] for part in (0.5, 0.99))
        share = sum(times_ms) / whole_ms if whole_ms else 0
        print(f"{name:32s}{p50:9.2f}{p99:9.2f}{ranked[-1]:9.2f}{share:8.0%}")

    print(f"\n{len(stamps)} orders, ms{'':16s}{'p50':>8s}{'p99':>9s}{'max':>9s}{'share':>8s}")
    whole = [(one[-1] - one[0]) / 1e6 for one in stamps]
    for number, name in enumerate(HOPS):
        row(name, [(one[number + 1] - one[number]) / 1e6 for one in stamps], sum(whole))
    row("tick to accepted order", whole, sum(whole))
    targets = ", ".join(f"{name} {value:g} ms" for name, value in TARGET_MS.items())
    print(f"{'target':32s}{targets}")


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Start, measure, print."""
    hops, strategies, config = folder / "hops.json", folder / "strategies", folder / "settings.yaml"
    strategies.mkdir()
    (strategies / "tick_to_order.py").write_text(STRATEGY)
    symbol, price, _ = instrument()
    setting = {"symbol": symbol, "price": price, "rate": args.rate, "file": str(hops)}
    gateway = {"module": "tests.bench.tick_gateway", "class": "TickGateway", "setting": setting}
    config.write_text(yaml.safe_dump({"engine": {"gateways": {"BENCH": gateway}}}))
    platform = Platform("--config", str(config), "--strategies", str(strategies))
    try:
        strategy, cpu_s, rest = uvloop.run(run(args, platform))
    finally:
        platform.stop()
    noted = json.loads(hops.read_text())
    stamps = []
    for number, (sent, received) in list(strategy["ticks"].items())[WARM_UP:]:
        of_order = noted["trading"].get(strategy["orders"].get(number), [])
        ends = [noted["engine"].get(number), noted["market"].get(number), received, *of_order]
        ends.append(strategy["answers"].get(number))
        if None not in ends and len(ends) == len(HOPS):
            stamps.append([sent, *ends])
    table(stamps)
    worker_ms = strategy["cpu_s"] / len(strategy["ticks"]) * 1e3
    print(f"CPU for each order: platform {cpu_s * 1e3:.2f} ms, worker {worker_ms:.2f} ms", end="; ")
    print(f"of the platform without orders: {rest:.0%} of a core")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20, help="ticks, and so orders, a second (20)")
    parser.add_argument("--count", type=int, default=400, help="orders that are measured (400)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redfire-bench-") as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    main()
