"""Imports of users' strategy files: the paths that the guide shows stay, whatever is moved behind them."""

from pathlib import Path

import pytest

from services.quant.sdk.loading import Loader
from services.quant.sdk.strategy_class import Family, family_of

NATIVE = """
from services.strategy import Bar, BaseStrategy, Interval, Order, OrderState, Side, Tick, Trade

class Native(BaseStrategy):
    async def on_tick(self, tick: Tick) -> None: ...
    async def on_bar(self, bar: Bar) -> None: ...
    async def on_order(self, order: Order) -> None: ...
    async def on_trade(self, trade: Trade) -> None: ...

assert Interval.M1 and Side.BUY and OrderState.FILLED
"""
VNPY = """
from vnpy.trader.constant import Direction, Interval, Offset
from vnpy.trader.object import BarData, OrderData, TickData, TradeData
from vnpy.trader.utility import ArrayManager, BarGenerator
from vnpy_ctastrategy import (
    ArrayManager, BarData, BarGenerator, CtaTemplate, OrderData, StopOrder, TargetPosTemplate, TickData, TradeData,
)

class Vnpys(CtaTemplate):
    def on_init(self):
        self.generator, self.array = BarGenerator(self.on_bar), ArrayManager()
"""


@pytest.mark.parametrize(
    ("source", "name", "family"), [(NATIVE, "Native", Family.NATIVE), (VNPY, "Vnpys", Family.VNPY_CTA)]
)
def test_files_with_the_public_imports_are_strategies(
    tmp_path: Path, source: str, name: str, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".vntrader").mkdir()
    monkeypatch.chdir(tmp_path)  # vnpy writes there
    (tmp_path / "mine.py").write_text(source)
    assert family_of(Loader(tmp_path).load(name)) is family


def test_services_strategy_offers_the_sdks_own_names() -> None:
    import services.strategy as public
    from services.quant.sdk import base, events

    assert public.BaseStrategy is base.BaseStrategy
    for name in set(public.__all__) - {"BaseStrategy"}:
        assert getattr(public, name) is getattr(events, name)
