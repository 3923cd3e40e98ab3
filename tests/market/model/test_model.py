"""Some seeds of the model; `python -m tests.market.model` runs them for hours."""

import random
from pathlib import Path

import pytest

from deploy.production.machine import CLIENTS_PORTS
from tests.machine import lacks
from tests.market.model.driver import built_bars, run
from tests.market.model.engine import SYMBOLS, ModelEngine
from tests.market.model.market_process import make_replicas


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
async def test_what_came_and_what_gaps_name_is_what_was_published(seed: int, tmp_path: Path) -> None:
    counts = await run(seed, 150, tmp_path)
    assert counts["ticks"] and counts["streams"] > 4


def test_no_connection_takes_a_markets_port_while_it_is_stopped(tmp_path: Path) -> None:
    if not CLIENTS_PORTS.exists():
        lacks("the range of ports that the system gives to clients is unknown")
    first, last = map(int, CLIENTS_PORTS.read_text().split())
    ports = [int(one.address.rpartition(":")[2]) for one in make_replicas(tmp_path, "", [f"m{n}" for n in range(9)])]
    assert len(set(ports)) == 9
    assert not [port for port in ports if first <= port <= last]


@pytest.mark.parametrize("seed", range(40))
def test_no_minute_is_closed_twice_whatever_epochs_begin_in_it(seed: int) -> None:
    rng = random.Random(seed)
    engine = ModelEngine(rng)
    for _ in range(300):
        engine.publish(rng.choices(SYMBOLS[:2], k=rng.choice((1, 1, 3))))
        if rng.random() < 0.3:
            engine.exchange.advance(rng.choice((0.5, 5, 30)))
            engine.pass_time()
        if rng.random() < 0.05:
            engine.restart(kill=True)
    closed = [(bar.symbol, bar.start_ns) for bar in built_bars(engine)]
    assert len(closed) > 10
    assert len(set(closed)) == len(closed)
