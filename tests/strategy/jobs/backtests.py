"""Backtests as a client sees them: data to run on, strategies good and hostile, and a client to ask from."""

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from redfire.common.v1 import common_pb2
from redfire.strategy.v1 import backtest_pb2
from redfire.strategy.v1 import backtest_service_pb2 as pb
from redfire.strategy.v1.backtest_service_pb2_grpc import BacktestServiceStub

from services.quant.backtest.data.files import read_dataset
from services.quant.backtest.data.store import DataStore
from tests.harness import User
from tests.strategy.fakes import SYMBOL
from tests.waiting import until

ZONE = ZoneInfo("Asia/Shanghai")
ENDED = (backtest_pb2.JOB_STATUS_FINISHED, backtest_pb2.JOB_STATUS_FAILED, backtest_pb2.JOB_STATUS_CANCELED)

STRATEGIES = '''
import os
import sys
import time

from vnpy_ctastrategy import CtaTemplate


class Base(CtaTemplate):
    author = "test"
    parameters = ["every", "size", "note"]
    variables = ["bars"]
    every = 20
    size = 1.0
    note = ""
    bars = 0

    def on_init(self):
        self.write_log("init")

    def on_bar(self, bar):
        self.bars += 1
        self.at(self.bars, bar)

    def at(self, count, bar):
        pass


class Trader(Base):
    """In and out."""

    def at(self, count, bar):
        self.cancel_all()
        if count % self.every == 0:
            if self.pos:
                self.sell(bar.close_price - 10, self.size)
            else:
                self.buy(bar.close_price + 10, self.size)


class Slow(Trader):
    """Takes its time, and says in which process."""

    def on_init(self):
        print("pid", os.getpid(), file=sys.stderr)

    def at(self, count, bar):
        if count == 50 and self.note:
            import pathlib
            pathlib.Path(self.note).write_text(str(os.getpid()))
        time.sleep(0.02)
'''

HOSTILE = """
import os
import subprocess
import sys
import time

from mine import Base


class Raiser(Base):
    def at(self, count, bar):
        if count == 30:
            raise ValueError("no such luck")


class Looper(Base):
    def at(self, count, bar):
        while True:
            pass


class HardExit(Base):
    def at(self, count, bar):
        os._exit(7)


class QuietExit(Base):
    def at(self, count, bar):
        os._exit(0)


class SoftExit(Base):
    def at(self, count, bar):
        sys.exit(3)


class Crasher(Base):
    def at(self, count, bar):
        os.kill(os.getpid(), 11)


class Eater(Base):
    def at(self, count, bar):
        eaten = getattr(self, "eaten", None)
        if eaten is None:
            eaten = self.eaten = []
        eaten.append(bytearray(os.urandom(1)) * (50 << 20))


class Gulper(Base):
    def at(self, count, bar):
        self.all = bytearray(1 << 40)


class Flooder(Base):
    def at(self, count, bar):
        if count > 200:
            return
        print("x" * 100_000)
        print("x" * 100_000, file=sys.stderr)
        os.write(1, b"y" * 100_000)
        for _ in range(100):
            self.write_log("z" * 10_000)


class Breeder(Base):
    def at(self, count, bar):
        if count == 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            with open(self.note, "w") as file:
                file.write(str(child.pid))
        time.sleep(0.05)


class Bomb(Base):
    def at(self, count, bar):
        while True:
            subprocess.Popen(["sleep", "600"])


class Defiant(Base):
    def at(self, count, bar):
        while True:
            try:
                time.sleep(0.01)
            except BaseException:
                pass
"""


def store_bars(data_dir: Path, symbol: str = SYMBOL, count: int = 1200, price: float = 4000.0) -> None:
    """Minute bars from 2021-01-04 on, four hours a day, in the store."""
    lines = ["datetime,open,high,low,close,volume,turnover,open_interest"]
    day = datetime(2021, 1, 4, 9, 30)
    for index in range(count):
        start = day + timedelta(days=index // 240, minutes=index % 240 + (90 if index % 240 >= 120 else 0))
        close = price + 40 * math.sin(index / 30)
        prices = f"{close - 0.4:.1f},{close + 2:.1f},{close - 2:.1f},{close:.1f}"
        lines.append(f"{start:%Y-%m-%d %H:%M:%S},{prices},10,{close * 10:.1f},100")
    data_dir.mkdir(parents=True, exist_ok=True)
    file = data_dir / f"{symbol}.csv"
    file.write_text("\n".join(lines) + "\n")
    DataStore(data_dir).import_dataset(read_dataset(file, symbol=symbol, interval="1m"))
    file.unlink()


class BacktestClient:
    """One user's backtests."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.stub = user.stub(BacktestServiceStub)

    @staticmethod
    def request(class_name: str, parameters: dict[str, Any] | None = None, **fields: Any) -> pb.CreateBacktestRequest:
        values: dict[str, Any] = {"symbol": SYMBOL, "interval": common_pb2.INTERVAL_1M, **fields}
        return pb.CreateBacktestRequest(
            class_name=class_name, parameters=ParseDict(parameters or {}, Struct()), **values
        )

    async def create(
        self, class_name: str, parameters: dict[str, Any] | None = None, **fields: Any
    ) -> backtest_pb2.Backtest:
        request = self.request(class_name, parameters, **fields)
        return (await self.stub.CreateBacktest(request, timeout=20)).backtest

    async def get(self, backtest_id: str) -> backtest_pb2.Backtest:
        return (await self.stub.GetBacktest(pb.GetBacktestRequest(backtest_id=backtest_id))).backtest

    async def cancel(self, backtest_id: str) -> backtest_pb2.Backtest:
        return (await self.stub.CancelBacktest(pb.CancelBacktestRequest(backtest_id=backtest_id))).backtest

    async def until_running(self, backtest_id: str) -> backtest_pb2.Backtest:
        """Its strategy has seen rows."""

        async def reached() -> Any:
            backtest = await self.get(backtest_id)
            assert backtest.status not in ENDED, (backtest.error, backtest.error_detail)
            return backtest if backtest.progress.done > 0 else None

        return await until(reached, 20, 0.05)

    async def ended(self, backtest_id: str, timeout_s: float = 120) -> backtest_pb2.Backtest:
        async def reached() -> Any:
            backtest = await self.get(backtest_id)
            return backtest if backtest.status in ENDED else None

        return await until(reached, timeout_s, 0.05)

    async def run(self, class_name: str, parameters: dict[str, Any] | None = None, **fields: Any) -> Any:
        return await self.ended((await self.create(class_name, parameters, **fields)).backtest_id)

    async def finished(self, class_name: str, parameters: dict[str, Any] | None = None, **fields: Any) -> Any:
        backtest = await self.run(class_name, parameters, **fields)
        assert backtest.status == backtest_pb2.JOB_STATUS_FINISHED, (backtest.error, backtest.error_detail)
        return backtest
