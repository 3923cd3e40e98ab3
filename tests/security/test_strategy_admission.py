"""Strategies and backtests where the kernel cannot confine them, and the permission to start one."""

import os
from pathlib import Path

import grpc
import pytest
from redfire.common.v1 import common_pb2
from redfire.strategy.v1 import backtest_service_pb2, strategy_pb2
from redfire.strategy.v1.backtest_service_pb2_grpc import BacktestServiceStub
from redfire.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

from services.kernel.identifiers import new_id
from services.strategy.sandbox.admission import Admission, NoSandbox
from services.strategy.sandbox.profile import Needs, Profiles
from services.strategy.sandbox.support import Support
from services.strategy.starter import Starter
from tests.harness import platform
from tests.strategy.fakes import SYMBOL, FakePlatform

ADMIN, TRADER = Starter(("admin:all",)), Starter(("strategy:write", "trading:write"))
NONE, OLD, FULL = Support(0, True), Support(3, True), Support(7, True)


def admission(support: Support, *, is_on: bool = True) -> Admission:
    return Admission(support, Profiles(support, []), is_on=is_on)


def allowed(check, starter: Starter) -> bool:
    try:
        check(starter)
    except NoSandbox as error:
        assert "strategy.sandbox=off" in error.message
        return False
    return True


@pytest.mark.parametrize(
    ("support", "strategies", "jobs"),
    [(NONE, False, False), (OLD, False, True), (FULL, True, True), (Support(7, False), False, False)],
)
def test_strangers_run_only_what_the_kernel_confines(support, strategies, jobs):
    rules = admission(support)
    assert allowed(rules.require_strategy, TRADER) is strategies
    assert allowed(rules.require_job, TRADER) is jobs
    assert allowed(rules.require_strategy, ADMIN) and allowed(rules.require_job, ADMIN)


def test_off_lets_everybody_run_and_says_so_loudly(caplog):
    rules = admission(NONE, is_on=False)
    rules.announce()
    assert "can read every secret" in caplog.text and "strategy.sandbox=off" in caplog.text
    assert allowed(rules.require_strategy, TRADER) and allowed(rules.require_job, TRADER)
    assert rules.profile(Needs("o", [], [], 1, 1)) is None


@pytest.mark.parametrize(("support", "words"), [(NONE, "no Landlock"), (OLD, "version 3"), (FULL, "")])
def test_what_is_missing_is_said_at_start(support, words, caplog):
    admission(support).announce()
    assert words in caplog.text and bool(caplog.text) == bool(words)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes files of others")
def test_files_of_other_users_are_not_imported_unconfined(tmp_path: Path):
    (tmp_path / "own.py").touch()
    (tmp_path / "other.py").touch()
    os.chown(tmp_path / "other.py", 4242, 4242)
    assert set(admission(NONE).refused_files(tmp_path)) == {"other.py"}
    assert not admission(FULL).refused_files(tmp_path)
    assert not admission(NONE, is_on=False).refused_files(tmp_path)


async def code_of(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return f"{caught.value.code().name}: {caught.value.details()}"


def start(user):
    return user.stub(StrategyServiceStub).StartStrategy(strategy_pb2.StartStrategyRequest(strategy_id=new_id()))


async def test_a_platform_without_landlock_refuses_traders_and_serves_its_owner(monkeypatch):
    monkeypatch.setattr("services.strategy.bind.detect", lambda: NONE)
    async with platform("strategy", settings={"strategy": {"sandbox": "on"}}, fakes=FakePlatform().fakes()) as p:
        p.mint = _mint(p)
        trader, admin = p.identity(), p.identity(role="admin")
        assert "cannot confine strategies" in await code_of(start(trader))
        assert (await code_of(start(admin))).startswith("NOT_FOUND")
        request = backtest_service_pb2.CreateBacktestRequest(
            class_name="X", symbol=SYMBOL, interval=common_pb2.INTERVAL_1M
        )
        refused = await code_of(trader.stub(BacktestServiceStub).CreateBacktest(request))
        assert refused.startswith("FAILED_PRECONDITION") and "cannot confine backtests" in refused


async def test_who_may_not_trade_starts_no_strategy():
    async with platform("strategy", fakes=FakePlatform().fakes()) as p:
        p.mint = _mint(p)
        reader = p.identity(scope="strategy:read strategy:write trading:read market:read")
        refused = await code_of(start(reader))
        assert refused.startswith("PERMISSION_DENIED") and "trading:write" in refused
        trader = p.identity(scope="strategy:read strategy:write trading:write")
        assert (await code_of(start(trader))).startswith("NOT_FOUND")


def _mint(p):
    return p.host._registry["auth"]._make(None)[0].mint
