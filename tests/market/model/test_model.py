"""Some seeds of the model; `python -m tests.market.model` runs them for hours."""

from pathlib import Path

import pytest

from tests.market.model.driver import run


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
async def test_what_came_and_what_gaps_name_is_what_was_published(seed: int, tmp_path: Path) -> None:
    counts = await run(seed, 150, tmp_path)
    assert counts["ticks"] and counts["streams"] > 4
