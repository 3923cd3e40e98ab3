"""One run of the model: a seed decides what happens, and at the end everything is compared."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import grpc
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from services.quant.bars import Bar, BarBuilder, Interval, LocalClock
from tests.harness import FakeService, platform, service_token
from tests.market.model.clients import BarClient, ConflatedClient, TickClient, pages
from tests.market.model.engine import GATEWAY, SECOND_NS, SYMBOLS, Epoch, ModelEngine
from tests.market.model.market_process import MarketProcess, make_replicas

SETTLE_S = 180
ACTIONS = {
    "publish": 60,
    "time": 12,
    "idle": 6,
    "disconnect": 6,
    "replica change": 6,
    "change": 5,
    "pause": 4,
    "stop market": 1,
    "kill market": 1,
    "restart engine": 1,
    "kill engine": 1,
}
"""Steps of a run, by weight."""


async def run(seed: int, steps: int, folder: Path) -> Counter[str]:
    """Run a seed. Raises AssertionError with what is wrong; returns what happened, counted."""
    rng = random.Random(seed)
    engine, counts = ModelEngine(rng), Counter[str]()
    async with platform(fakes={"engine": FakeService(lambda context: [engine])}) as served:
        markets = make_replicas(folder, served.host.address, ("m1", "m2"))
        addresses = [market.address for market in markets]
        clients: list[TickClient] = []
        for number in range(4):
            kind = ConflatedClient if number == 3 else TickClient
            clients.append(kind(f"client {number}", addresses, random.Random(rng.random()), engine.epochs, counts))
        bars = [BarClient(address, counts) for address in addresses]
        try:
            for market in markets:
                await market.start()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(client.run()) for client in (*clients, *bars)]
                for _ in range(steps):
                    await _step(rng, engine, markets, clients, counts)
                await _settle(engine, clients)
                await _compare(engine, markets, bars, counts)
                for task in running:
                    task.cancel()
        finally:
            for market in markets:
                if market.runs:
                    await market.kill()
    return counts


async def _step(
    rng: random.Random,
    engine: ModelEngine,
    markets: list[MarketProcess],
    clients: list[TickClient],
    counts: Counter[str],
) -> None:
    (action,) = rng.choices(list(ACTIONS), list(ACTIONS.values()))
    counts[action] += 1
    client, market = rng.choice(clients), rng.choice(markets)
    match action:
        case "publish":
            engine.publish(rng.choices(SYMBOLS, k=rng.choice((1, 1, 3, 10, 60))))
        case "time":
            engine.exchange.advance(rng.choice((0.5, 5, 70)))
            engine.pass_time()
        case "idle":
            await asyncio.sleep(rng.random() * 0.3)
        case "disconnect":
            client.disconnect()
        case "replica change":
            client.move()
        case "change":
            await client.change()
        case "pause":
            if client.reads.is_set():
                client.reads.clear()
            else:
                client.reads.set()
        case "stop market":
            await market.stop()
            await _meanwhile(rng, engine)
            await market.start()
        case "kill market":
            await market.kill()
            await _meanwhile(rng, engine)
            await market.start()
        case "restart engine" | "kill engine":
            engine.restart(kill=action == "kill engine")
    await asyncio.sleep(rng.random() * 0.02)


async def _meanwhile(rng: random.Random, engine: ModelEngine) -> None:
    """Ticks go on while a market is away; sometimes more than the engine keeps, sometimes the engine is begun anew."""
    for _ in range(rng.choice((0, 1, 5, 30))):
        engine.publish(rng.choices(SYMBOLS, k=rng.choice((1, 10))))
        engine.pass_time()
    if rng.random() < 0.2:
        engine.restart(kill=True)


async def _settle(engine: ModelEngine, clients: list[TickClient]) -> None:
    """Wait until all that was published came everywhere."""
    for client in clients:
        client.reads.set()
    for symbol in SYMBOLS:
        engine.publish([symbol])
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLE_S
    while behind := [text for client in clients if (text := client.behind())]:
        assert loop.time() < end, "\n".join([*behind, *(client.history() for client in clients)])
        await asyncio.sleep(0.05)


async def _compare(
    engine: ModelEngine, markets: list[MarketProcess], clients: list[BarClient], counts: Counter[str]
) -> None:
    """Compare the replicas' histories, streamed bars, and bars built anew."""
    recorder = markets[0]
    await recorder.stop()
    await recorder.start()
    recorded, listed = await _history(recorder)
    for follower in markets[1:]:
        assert (recorded, listed) == await _history(follower), "the replicas' histories differ"
    complete = all(_compare_ticks(engine, symbol, ticks) for symbol, ticks in recorded.items())
    for key, bar in [(key, bar) for client in clients for key, bar in client.bars.items()]:
        if not _is_recorded(engine, recorded[key[0]], *key):
            counts["bars of lost ticks"] += 1
            continue
        assert key in listed, f"a streamed bar is not in history: {bar}"
        assert listed[key].incomplete or listed[key] == bar, (
            f"a streamed bar differs from history's:\n{bar}\n{listed[key]}"
        )
    counts["listed bars"] += len(listed)
    counts["complete runs"] += complete
    if complete:
        _compare_bars(engine, listed)


async def _history(market: MarketProcess) -> tuple[dict[str, list[pb.Tick]], dict[tuple[str, int], pb.Bar]]:
    """The ticks of each symbol and the minute bars that a replica lists."""
    metadata = (("x-redfire-service", service_token("risk", "market")),)
    listed: dict[tuple[str, int], pb.Bar] = {}
    recorded: dict[str, list[pb.Tick]] = {}
    async with grpc.aio.insecure_channel(market.address) as channel:
        stub = MarketServiceStub(channel)
        for symbol in SYMBOLS:

            def ticks(token: str, symbol: str = symbol):  # type: ignore[no-untyped-def]
                request = pb.ListTicksRequest(symbol=symbol, page_size=1000, page_token=token)
                return stub.ListTicks(request, metadata=metadata, timeout=20)

            def minutes(token: str, symbol: str = symbol):  # type: ignore[no-untyped-def]
                request = pb.ListBarsRequest(
                    symbol=symbol, interval=common_pb2.INTERVAL_1M, page_size=1000, page_token=token
                )
                return stub.ListBars(request, metadata=metadata, timeout=20)

            recorded[symbol] = await pages(ticks, "ticks")
            for tick in recorded[symbol]:
                tick.gateway = GATEWAY  # which history does not keep
            listed.update({(symbol, bar.start_time.seconds): bar for bar in await pages(minutes, "bars")})
    return recorded, listed


def _compare_ticks(engine: ModelEngine, symbol: str, recorded: list[pb.Tick]) -> bool:
    """Compare recorded ticks with published ones; True when all are recorded."""
    published = {tick.sequence: tick for epoch in engine.epochs for tick in epoch.ticks[symbol]}
    sequences = [tick.sequence for tick in recorded]
    assert len(set(sequences)) == len(sequences), f"{symbol}: a tick is recorded twice"
    for tick in recorded:
        assert published.get(tick.sequence) == tick, f"{symbol}: {tick} was not published"
    return len(recorded) == len(published)


def _is_recorded(engine: ModelEngine, recorded: list[pb.Tick], symbol: str, start_s: int) -> bool:
    """Test whether all ticks that a minute's bar is made of are recorded: a kill loses some, and so may the engine."""
    sequences = {tick.sequence for tick in recorded}
    first_ns, end_ns = (start_s - 120) * SECOND_NS, (start_s + 64) * SECOND_NS
    return all(
        tick.sequence in sequences
        for epoch in engine.epochs
        for tick in epoch.ticks[symbol]
        if first_ns <= tick.time_ns < end_ns
    )


def built_bars(engine: ModelEngine) -> list[Bar]:
    """The minute bars that the published ticks and watermarks give, as they closed."""
    builder, built = BarBuilder(LocalClock("Asia/Shanghai")), list[Bar]()
    builder.on_closed(built.append)
    for item in engine.log:
        if isinstance(item, Epoch):
            builder.begin_epoch(item.name)
        elif isinstance(item, int):
            builder.on_watermark(GATEWAY, item)
        else:
            builder.on_ticks([item])
    return [bar for bar in built if bar.interval is Interval.MINUTE]


def _compare_bars(engine: ModelEngine, listed: dict[tuple[str, int], pb.Bar]) -> None:
    """Compare history's bars with those that the published ticks give."""
    built = {(bar.symbol, bar.start_ns // 1_000_000_000): bar for bar in built_bars(engine)}
    assert set(listed) == set(built), f"bars differ: {sorted(set(listed) ^ set(built))}"
    for key, bar in built.items():
        one = listed[key]
        mine = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        assert mine == (one.open, one.high, one.low, one.close, one.volume), f"{bar} is not {one}"
