"""The commit log on PostgreSQL: periods that streams no longer resume from are dropped whole, and sequences go on."""

import asyncio

import pytest
from redfire.trading.v1 import account_service_pb2 as account_pb
from redfire.trading.v1 import order_service_pb2 as pb
from sqlalchemy import text

from services.trading.state import periods, trimming
from services.trading.state.commit_log import CommitLog
from tests.trading.conftest import trading
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_postgres")]


@pytest.fixture
def on_postgres(postgres, monkeypatch):
    """Platforms' databases are on PostgreSQL; no row is deleted, and trimming does not wait for a minute."""
    monkeypatch.setenv("REDFIRE_TEST_DATABASE", "postgresql")
    monkeypatch.setattr(trimming, "TRIM_EVERY_S", 0.05)
    monkeypatch.setattr(CommitLog, "forget", None)


async def sequences(trader):
    query = text("SELECT min(sequence), max(sequence), count(*) FROM journal")
    ((oldest, newest, count),) = await trader.platform.rows("trading", query)
    return oldest, newest, count


async def snapshot_sequence(trader):
    return (await trader.accounts.GetSnapshot(account_pb.GetSnapshotRequest())).sequence


async def first_update(trader, after):
    stream = trader.orders.StreamOrders(pb.StreamOrdersRequest(resume_after_sequence=after))
    update = await stream.read()
    stream.cancel()
    return update


async def test_a_period_of_which_nothing_is_promised_is_dropped_and_streams_resume_after_it(monkeypatch):
    monkeypatch.setattr(periods, "PERIOD_NS", 2 * 10**9)
    monkeypatch.setattr(trimming, "periods_to_empty", lambda _: [])
    async with trading(user_id="u-1", resume_window=1000, paper_cash="900000000000") as trader:

        async def is_trimmed():
            await asyncio.gather(*(trader.create() for _ in range(50)))
            return (await sequences(trader))[0] > 1

        await until(is_trimmed, 120)
        oldest, newest, _ = await sequences(trader)
        # Whole periods: rather more than the window than less.
        assert newest - oldest >= 999
        last = await snapshot_sequence(trader)
        assert (await first_update(trader, last - 500)).sequence == last - 499
        assert (await first_update(trader, 1)).gap.first_sequence == 2


async def test_sequences_go_on_where_all_of_a_log_is_too_old(tmp_path, monkeypatch):
    monkeypatch.setattr(periods, "PERIOD_NS", 10**8)
    async with trading(data_dir=tmp_path, user_id="u-1") as trader:
        await trader.create()
        last = await snapshot_sequence(trader)

        async def is_empty():
            return (await sequences(trader))[2] == 0

        await until(is_empty, 120)
        assert await snapshot_sequence(trader) >= last
    async with trading(peers=trader.peers, data_dir=tmp_path, user_id="u-1") as trader:
        assert await snapshot_sequence(trader) >= last
        # What was promised is still so: nothing came after it.
        resumed = await first_update(trader, last)
        assert not resumed.HasField("gap")
        await trader.create()
        assert await snapshot_sequence(trader) > last
        assert (await first_update(trader, 1)).gap.last_sequence >= last
