"""Row groups of the archive in memory: those that were read lately, up to a bound."""

from pathlib import Path

import pytest

from services.market.recording import archived_ticks
from services.market.recording.archived_ticks import ArchivedTicks
from services.quant.archive import layout
from services.quant.archive.layout import TICK_COLUMNS, TICK_LISTS
from tests.market.ticks import SYMBOL

DAY = 20261120


def test_groups_that_were_read_lately_are_kept_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = layout.ticks(tmp_path)
    for checkpoint in range(1, 5):
        columns = {name: [[1.0]] if name in TICK_LISTS else [checkpoint] for name in TICK_COLUMNS}
        archive.write(SYMBOL, DAY, checkpoint, {**columns, "epoch": [1]})
    ticks = ArchivedTicks(archive)
    one, two, three, four = ticks.row_groups(SYMBOL, DAY, 4).recorded
    size = ticks.read(SYMBOL, one).size
    monkeypatch.setattr(archived_ticks, "CACHED_BYTES", 3 * size)
    first, second, third = (ticks.read(SYMBOL, group) for group in (one, two, three))
    assert ticks.read(SYMBOL, one) is first
    ticks.read(SYMBOL, four)
    for _ in range(3):
        assert ticks.read(SYMBOL, one) is first
        assert ticks.read(SYMBOL, three) is third
    assert ticks.read(SYMBOL, two) is not second
    assert ticks.read(SYMBOL, one) is first
