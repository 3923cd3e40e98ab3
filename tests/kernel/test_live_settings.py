"""Live settings follow config for as long as it is heard."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from redfire.config.v1 import config_pb2

from services.kernel.rpc.silence import SILENCE_S
from services.kernel.runtime.live_settings import ConfigFollower, LiveSettings
from services.kernel.runtime.sections import Section
from tests.simulated_time import in_simulated_time

Response = config_pb2.WatchConfigsResponse


class TeaSettings(Section):
    """A section of a test."""

    section = "tea"
    sugar: int = 1


class HungConfig:
    """Sends a value, and then not even heartbeats."""

    def __init__(self) -> None:
        self.closed = False

    async def WatchConfigs(self, request: config_pb2.WatchConfigsRequest) -> AsyncIterator[Response]:
        config: Any = config_pb2.Config(key="sugar", value={"number_value": 3.0})
        try:
            yield Response(config=config)
            yield Response(snapshot_complete=True)
            await asyncio.Event().wait()
        finally:
            self.closed = True


@in_simulated_time
async def test_a_config_service_that_hangs_is_left_and_its_values_stay() -> None:
    config, live = HungConfig(), LiveSettings(TeaSettings())
    await asyncio.wait_for(ConfigFollower(config, "development", "tea", [live]).run(), SILENCE_S + 1)
    assert config.closed
    assert live.value.sugar == 3
