"""Backtests on an archive that is in a bucket, to which no process of users' code has the keys."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from redfire.strategy.v1 import backtest_pb2 as pb

from services.quant.archive import layout
from services.quant.archive.partition_files import IMPORTED, file_name
from services.quant.archive.tiered import TieredStorage
from tests.s3 import ENVIRONMENT, S3Server, s3_server
from tests.strategy.fakes import SYMBOL
from tests.strategy.jobs.backtests import STRATEGIES, BacktestClient, store_bars

pytestmark = pytest.mark.slow

KEYS = '''
import os

from mine import Trader


class Thief(Trader):
    """Looks for keys."""

    def on_init(self):
        assert not [name for name in os.environ if name.startswith("AWS_")]
'''


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with s3_server() as server:
        yield server


def move_to_bucket(data_dir: Path, url: str) -> None:
    """Have what was imported in the bucket, as if it had been recorded."""
    folder = data_dir / layout.FOLDER
    for path in folder.rglob(IMPORTED):
        path.rename(path.with_name(file_name(1, 1)))
    layout.keep_remote_url(folder, url)
    storage = layout.storage(folder)
    assert isinstance(storage, TieredStorage)
    assert storage.upload("bars", threading.Lock(), lambda: False)
    assert not list(folder.rglob("*.parquet"))


async def test_a_backtest_reads_a_copy(store: S3Server, serve, strategies_dir, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (strategies_dir / "mine.py").write_text(STRATEGIES)
    (strategies_dir / "keys.py").write_text(KEYS)
    store_bars(data_dir)
    async with serve(data_dir=data_dir) as platform:
        client = BacktestClient(platform.identity())
        local = await client.finished("Trader")
        move_to_bucket(data_dir, store.bucket("backtests"))
        assert {key.split("/")[1] for key in store.objects("backtests")} == {f"symbol={SYMBOL}"}
        remote = await client.finished("Thief")
        assert remote.statistics == local.statistics
        assert not list(tmp_path.rglob("*/data/market"))
        store.stop()
        try:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.create("Trader")
        finally:
            store.start()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert (await client.run("Trader")).status == pb.JOB_STATUS_FINISHED
