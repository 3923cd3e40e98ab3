"""Some seeds of the model; `python -m tests.market.model` runs them for hours."""

import random
from pathlib import Path

import pytest

from tests.market.model.driver import built_bars, run
from tests.market.model.engine import SYMBOLS, ModelEngine


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
async def test_what_came_and_what_gaps_name_is_what_was_published(seed: int, tmp_path: Path) -> None:
    counts = await run(seed, 150, tmp_path)
    assert counts["ticks"] and counts["streams"] > 4


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
