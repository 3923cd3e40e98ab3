"""A strategy service with real worker processes, against fakes of its peers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from redfire.strategy.v1 import strategy_pb2 as pb
from redfire.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

from tests.harness import Platform, User, platform
from tests.strategy.fakes import SYMBOL, FakePlatform
from tests.waiting import until


class StrategyClient:
    """One user's strategies, as a client sees them."""

    stub_class = StrategyServiceStub

    def __init__(self, world: FakePlatform, user: User) -> None:
        self.world = world
        self.user = user
        self.stub = user.stub(StrategyServiceStub)

    async def create(self, class_name: str, symbol: str = SYMBOL, **parameters: Any) -> pb.Strategy:
        request = pb.CreateStrategyRequest(
            class_name=class_name, symbol=symbol, parameters=ParseDict(parameters, Struct())
        )
        return (await self.stub.CreateStrategy(request)).strategy

    async def start(self, strategy_id: str) -> pb.Strategy:
        return (await self.stub.StartStrategy(pb.StartStrategyRequest(strategy_id=strategy_id))).strategy

    async def stop(self, strategy_id: str) -> pb.Strategy:
        return (await self.stub.StopStrategy(pb.StopStrategyRequest(strategy_id=strategy_id))).strategy

    async def get(self, strategy_id: str) -> pb.Strategy:
        return (await self.stub.GetStrategy(pb.GetStrategyRequest(strategy_id=strategy_id))).strategy

    async def logs(self, strategy_id: str) -> list[pb.StrategyLog]:
        return list((await self.stub.ListStrategyLogs(pb.ListStrategyLogsRequest(strategy_id=strategy_id))).logs)

    async def until_status(self, strategy_id: str, status: str, timeout_s: float = 20) -> pb.Strategy:
        expected = pb.StrategyStatus.Value(f"STRATEGY_STATUS_{status}")
        strategy = await self.get(strategy_id)
        end_states = {pb.STRATEGY_STATUS_ERROR} - {expected}

        async def reached() -> bool:
            nonlocal strategy
            strategy = await self.get(strategy_id)
            assert strategy.status not in end_states, (
                strategy.error,
                [log.message for log in await self.logs(strategy_id)],
            )
            return strategy.status == expected

        await until(reached, timeout_s, 0.05)
        return strategy

    async def run(self, class_name: str, **parameters: Any) -> str:
        """Create and start; returns the id once it is running and receives ticks."""
        made = await self.create(class_name, **parameters)
        before = len(self.world.market.streams)
        await self.start(made.strategy_id)
        await self.until_status(made.strategy_id, "RUNNING")
        await until(lambda: len(self.world.market.streams) > before)
        return str(made.strategy_id)


@pytest.fixture
def world() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def strategies_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "strategies"
    folder.mkdir()
    return folder


Serve = Callable[..., AbstractAsyncContextManager[Platform]]


@pytest.fixture
def serve(world: FakePlatform, strategies_dir: Path) -> Serve:
    """`async with serve() as p`: the service, its fakes, and the folder of the user's strategies, whose classes are
    known: a slow machine takes longer to read them than calls that need one may last."""

    @asynccontextmanager
    async def run(
        data_dir: Path | None = None, *, awaits_classes: bool = True, **settings: Any
    ) -> AsyncIterator[Platform]:
        values = {"strategies_dir": strategies_dir, "callback_timeout_s": 1.0, **settings}
        async with platform("strategy", settings={"strategy": values}, fakes=world.fakes(), data_dir=data_dir) as p:
            p.mint = world.auth.mint
            if awaits_classes:
                await until(partial(_classes, p.identity().stub(StrategyServiceStub)), 240)
            yield p

    return run


async def _classes(stub: Any) -> list[pb.StrategyClass]:
    return list((await stub.ListStrategyClasses(pb.ListStrategyClassesRequest(), timeout=15)).classes)


@pytest.fixture
def client_of(world: FakePlatform) -> Callable[[Platform], StrategyClient]:
    return lambda p: StrategyClient(world, p.identity())
