"""Strategies and data of tests of searches."""

from dataclasses import replace

from services.quant.backtest.job import BacktestJob
from services.quant.backtest.optimise import Space
from tests.quant.backtest import generated

JOB = BacktestJob("DoubleMaStrategy", "rb2501.SHFE", "1m", rate=0.0, slippage=0.0)


SPACE = Space.parse(["fast_window=2:8:2", "slow_window=10:30:10"])


DATA = generated.bars(4000, sessions=generated.DAY)


STRATEGY = """
import os, signal, time
from vnpy_ctastrategy import CtaTemplate


class Odd(CtaTemplate):
    \"\"\"Does what its parameter says.\"\"\"

    author = "test"
    number = 1
    folder = ""
    parameters = ["number", "folder"]

    def on_init(self):
        if self.number == 2:
            raise ValueError("two is too many")
        if self.number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.number == 4:
            raise SystemExit(3)
        if self.number == 5:
            os._exit(7)
        if self.number == 6:
            while True:
                time.sleep(0.01)
        if self.number == 7 and not os.path.exists(self.folder + "/once"):
            open(self.folder + "/once", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_bar(self, bar):
        if self.number == 8 and bar.datetime.day == 4:
            raise RuntimeError("the fourth")
        if self.pos == 0:
            self.buy(bar.close_price + 10, self.number)
"""


def odd(**parameters) -> BacktestJob:
    return replace(JOB, class_name="Odd", parameters=parameters)
