"""An archive in a bucket: what is recorded moves there, and waits on disk while the bucket is away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from redfire.market.v1 import market_pb2 as pb

from services.kernel.errors import Unavailable
from services.market.recording.uploads import Uploads
from services.market.settings import MarketSettings
from services.quant.archive import layout, s3
from services.quant.archive.s3 import S3Storage
from services.quant.backtest.data.dataset import Bars
from services.quant.backtest.data.store import DataStore
from services.quant.bars import Interval
from tests.market.recorder import RecordedMarket, recorder, ticks
from tests.market.running_market import running
from tests.market.ticks import SYMBOL, at, tick
from tests.s3 import ENVIRONMENT, S3Server, s3_server
from tests.waiting import until

pytestmark = pytest.mark.slow  # a server of its own is started

DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(store: S3Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a test's own bucket."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    name = request.node.name.replace("_", "-")[:60].rstrip("-")
    store.bucket(name)
    return str(name)


@asynccontextmanager
async def recording(folder: Path, url: str, **settings: object) -> AsyncIterator[tuple[RecordedMarket, Uploads]]:
    async with recorder(folder, archive_url=url, **settings) as market:
        uploads = Uploads(market.store)
        yield market, uploads
    await uploads.close()


def on_disk(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.parquet")]


async def test_what_is_archived_moves_to_the_bucket_and_is_read_there(
    store: S3Server, bucket: str, tmp_path: Path
) -> None:
    sent, url = ticks(1000), store.bucket(bucket)
    async with recording(tmp_path, url) as (one, uploads):
        for first in (0, 400, 700):
            one.publish(*sent[first : first + 400 if first == 0 else first + 300])
            await one.recorder.checkpoint()
            assert await one.all_ticks(page=99) == sent[: one.hub.position.number]
        bars = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert await uploads.once() == 6
        assert not on_disk(tmp_path)
        assert len(store.objects(bucket)) == 6
        assert await one.all_ticks(page=99) == sent
        assert await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100) == bars
    async with recording(tmp_path, url) as (two, _):
        assert await two.all_ticks() == sent


async def test_recording_goes_on_while_the_bucket_is_away_and_nothing_is_lost(
    store: S3Server, bucket: str, tmp_path: Path
) -> None:
    sent, url = ticks(900), store.bucket(bucket)
    async with recording(tmp_path, url) as (one, uploads):
        one.publish(*sent[:300])
        await one.recorder.checkpoint()
        await uploads.once()
        store.stop()
        try:
            one.publish(*sent[300:600])
            await one.recorder.checkpoint()
            assert await uploads.once() is None
            assert "the bucket of the archive" in uploads.failure
            assert not one.recorder.failure
            one.store.ticks.changed(SYMBOL, 20261120)  # as when the listing is too old
            with pytest.raises(Unavailable):
                await one.all_ticks()
            with pytest.raises(Unavailable):
                await one.history.knows("rb2601.SHFE")
        finally:
            store.start()
        one.publish(*sent[600:])
        assert await uploads.once() == 2
        assert not uploads.failure
        assert await one.all_ticks() == sent


async def test_a_bucket_that_is_away_holds_up_compaction_and_is_said_once(
    store: S3Server, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent, url = ticks(900), store.bucket(bucket)

    def lines(text: str) -> int:
        return len([one for one in caplog.records if text in one.message])

    async with recording(tmp_path, url, compact_files=2) as (one, _):
        store.stop()
        try:
            for first in (0, 300, 600):
                one.publish(*sent[first : first + 300])
                await one.recorder.checkpoint()
                one.store.ticks.changed(SYMBOL, 20261120)  # as when the listing is too old
                with pytest.raises(OSError, match="NETWORK_CONNECTION"):
                    await one.recorder.compact()
                assert "archive of ticks" not in one.recorder.failure
        finally:
            store.start()
        assert (lines("cannot be compacted"), lines("cannot be written"), lines("again")) == (1, 0, 0)
        one.store.ticks.changed(SYMBOL, 20261120)
        await one.recorder.compact()
        assert (one.recorder.failure, lines("can be compacted again")) == ("", 1)
        assert await one.all_ticks() == sent


async def test_a_bucket_that_does_not_exist_is_said_at_the_start_and_the_service_records(
    store: S3Server, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = f"{bucket[:50]}-not-made"
    url = store.bucket(bucket).replace(bucket, other, 1)
    async with running(data_dir=tmp_path, archive_url=url, flush_s=0.05) as market:
        failures = market.platform.host.lifecycle.failures
        await until(lambda: f"bucket {other} does not exist" in failures().get("market", ""), timeout_s=30)
        await market.send(*ticks(50))
        request = pb.ListTicksRequest(symbol=SYMBOL, page_size=1000)
        assert len((await market.stub.ListTicks(request)).ticks) == 50
        assert [one.levelname for one in caplog.records if "does not take archived" in one.message] == ["ERROR"]
        store.bucket(other)
        await until(lambda: not failures(), timeout_s=60)


async def test_a_file_that_a_kill_left_at_both_places_counts_once(store: S3Server, bucket: str, tmp_path: Path) -> None:
    sent, url = ticks(200), store.bucket(bucket)
    async with recording(tmp_path, url) as (one, uploads):
        one.publish(*sent)
        await one.recorder.checkpoint()
        files = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
        await uploads.once()
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        assert await one.all_ticks(page=99) == sent
        assert await uploads.once() == 2
        assert not on_disk(tmp_path)
        assert await one.all_ticks(page=99) == sent


async def test_a_start_while_the_bucket_is_away_records(store: S3Server, bucket: str, tmp_path: Path) -> None:
    sent, url = ticks(200), store.bucket(bucket)
    async with recording(tmp_path, url) as (one, uploads):
        one.publish(*sent[:100])
        await one.recorder.checkpoint()
        await uploads.once()
    store.stop()
    try:
        async with recording(tmp_path, url) as (two, _):
            two.publish(*sent[100:])
            await two.recorder.checkpoint()
    finally:
        store.start()
    async with recording(tmp_path, url) as (three, uploads):
        assert await three.all_ticks() == sent
        await uploads.once()
        assert not on_disk(tmp_path)
        assert await three.all_ticks() == sent


async def test_objects_become_one_when_the_new_one_is_in_the_bucket(
    store: S3Server, bucket: str, tmp_path: Path
) -> None:
    sent, url = ticks(120), store.bucket(bucket)
    async with recording(tmp_path, url, compact_files=4) as (one, uploads):
        for first in range(0, 120, 20):
            one.publish(*sent[first : first + 20])
            await one.recorder.checkpoint()
            await uploads.once()
        before = [key for key in store.objects(bucket) if key.startswith("ticks/")]
        await one.recorder.compact()
        assert [key for key in store.objects(bucket) if key.startswith("ticks/")] == before
        assert await one.all_ticks(page=7) == sent
        await uploads.once()
        assert [key.rpartition("/")[2] for key in store.objects(bucket) if key.startswith("ticks/")] == [
            "00000001-00000006.parquet"
        ]
        assert await one.all_ticks(page=7) == sent


async def test_a_process_that_only_reads_finds_every_file_wherever_it_is(
    store: S3Server, bucket: str, tmp_path: Path
) -> None:
    url = store.bucket(bucket)
    reader = layout.ticks(layout.storage(tmp_path, url))
    async with recording(tmp_path, url, compact_files=3) as (one, uploads):
        for count in range(1, 7):
            one.publish(tick(count))
            await one.recorder.checkpoint()
            for move in (one.recorder.compact, uploads.once, one.recorder.compact):
                rows = [reader.read(group) for group in reader.row_groups(SYMBOL, 20261120, 100).recorded]
                assert sum(map(len, rows)) == count
                await move()


async def test_old_objects_are_removed(store: S3Server, bucket: str, tmp_path: Path) -> None:
    url, start = store.bucket(bucket), at("2026-11-02 10:00:00")
    days = [tick(n + 1, time_ns=start + n * DAY_NS, trading_day=20261102 + n) for n in range(4)]
    async with recording(tmp_path, url, retention_days=1, bar_retention_days=1) as (one, uploads):
        for of_day in days:
            one.publish(of_day)
            await one.recorder.checkpoint()
        await uploads.once()
        one.now_ns = at("2100-01-01 00:00:00")
        await one.recorder.remove_old()
        assert store.objects(bucket) == []
        assert await one.all_ticks() == []


async def test_imported_rows_stay_on_disk_and_backtests_read_both(store: S3Server, bucket: str, tmp_path: Path) -> None:
    url, folder = store.bucket(bucket), tmp_path / layout.FOLDER
    async with recording(folder, url) as (one, uploads):
        one.publish(*ticks(300))
        one.bars.close_all()
        await one.recorder.checkpoint()
        await uploads.once()
        starts = np.array([at("2026-11-20 09:00:00")])
        values = [np.array([float(n)]) for n in range(1, 8)]
        imported = Bars(SYMBOL, "1m", starts, *values)
        DataStore(tmp_path).import_dataset(imported)
        await uploads.once()
        assert on_disk(folder) == ["imported.parquet"]
        bars = await one.history.list_bars(SYMBOL, Interval.MINUTE, None, None, None, 100)
        assert bars[0].start_ns == starts[0]
        loaded = DataStore(tmp_path).load(SYMBOL, "1m", date(2026, 11, 20))
        assert loaded.time_ns.tolist() == [bar.start_ns for bar in bars]
        assert len(DataStore(tmp_path).load(SYMBOL, "tick")) == 300


async def test_rows_of_a_market_that_another_one_follows_stay_hidden(
    store: S3Server, bucket: str, tmp_path: Path
) -> None:
    url = store.bucket(bucket)
    async with recording(tmp_path, url) as (one, uploads):
        one.store.supersede({SYMBOL: 5})
        await uploads.once()
        one.store.supersede({SYMBOL: 7})
        await uploads.once()
        assert S3Storage(url).open(f"ticks-superseded/{SYMBOL}.ns").read() == b"7"
        assert store.objects(bucket) == [f"ticks-superseded/{SYMBOL}.ns", f"bars-superseded/{SYMBOL}.ns"][::-1]
        assert one.store.superseded() == {SYMBOL: 7}
        store.stop()
        try:
            one.store.ticks.changed("", 0)
            assert one.store.superseded() == {SYMBOL: 7}
        finally:
            store.start()


def test_an_object_is_written_whole_or_not_at_all(store: S3Server, bucket: str) -> None:
    storage = S3Storage(store.bucket(bucket))

    def broken(file: Any) -> None:
        file.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.write("ticks/symbol=x/day=1/1-1.parquet", broken)
    assert store.objects(bucket) == []
    with pytest.raises(FileNotFoundError):
        storage.open("ticks/symbol=x/day=1/1-1.parquet")


@pytest.mark.parametrize(
    "url", ["s3://", "http://bucket/x", "s3://key:secret@bucket/x", "s3://bucket/x?endpoint=http://h", "s3://b/x#y"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="archive_url"):
        MarketSettings(archive_url=url)


@pytest.mark.slow
async def test_the_service_archives_to_a_bucket(
    store: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "LISTED_S", 0.2)
    settings = {"archive_url": store.bucket(bucket), "checkpoint_s": 0.2, "flush_s": 0.05}
    async with running(data_dir=tmp_path, **settings) as market:
        sent = ticks(50)
        await market.send(*sent)
        await until(lambda: len(store.objects(bucket)) == 1, timeout_s=30)
        request = pb.ListTicksRequest(symbol=SYMBOL, page_size=1000)
        assert list((await market.stub.ListTicks(request)).ticks) == sent

        async def refused() -> bool:
            try:
                await market.stub.ListTicks(request)
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                return True
            return False

        store.stop()
        try:
            await market.send(*ticks(50, first=51))
            await until(refused, timeout_s=30)
        finally:
            store.start()
        await until(lambda: len(store.objects(bucket)) == 2, timeout_s=60)
        assert list((await market.stub.ListTicks(request)).ticks) == ticks(100)
