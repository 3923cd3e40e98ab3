"""The one feed from the engine, followed until cancelled: subscribed again after breaks, acknowledged if it waits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol

from redfire.engine.v1 import engine_pb2

from services.kernel.errors import RedFireError
from services.kernel.rpc.silence import until_silent
from services.market.acknowledgements import Acknowledgements
from services.market.convert import parse_batch
from services.market.instruments import Instruments
from services.market.settings import MarketSettings
from services.market.ticks.hub import Hub
from services.market.ticks.position import Position
from services.quant.ticks.variant import variant

_log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
EMPTY_PAUSE_S = 0.5
REFRESH_S = 60.0


class Role(Protocol):
    """This replica's part: it makes bars and history of the feed, or nothing."""

    @property
    def records(self) -> bool:
        """True if it records the feed: a replay begins when somebody does."""

    def begin(self, started: engine_pb2.StreamTicksResponse.Started) -> None:
        """The feed goes on here, in this epoch."""

    def reach(self, position: int) -> None:
        """The ticks up to this position of the epoch were published."""

    async def wait_for_capacity(self) -> None:
        """Wait until it can take more, for a feed that can wait."""

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated."""

    async def end(self, ended: engine_pb2.StreamTicksResponse.FeedEnded) -> None:
        """A gateway's replay came to its end here."""


class EngineSubscriptions(Protocol):
    """The symbols that the engine is asked for."""

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated."""

    async def connect(self, *, on_demand: bool, known: Iterable[str] = ()) -> None:
        """Ask the engine for all that is wanted. Raises: RedFireError."""

    def disconnect(self) -> None:
        """The engine is not there."""

    async def refresh(self) -> None:
        """Ask for what is wanted by now. Raises: RedFireError."""


class Upstream:
    """Reads batches of the engine into the hub, from the place on that the hub has come to."""

    def __init__(
        self,
        engine: Any,
        stream: Callable[[Any], AsyncIterator[bytes]],
        hub: Hub,
        role: Role,
        instruments: Instruments[Any],
        subscriptions: EngineSubscriptions,
        settings: Callable[[], MarketSettings],
    ) -> None:
        self._engine = engine
        self._stream = stream
        self._hub = hub
        self._scan = variant().scanner().scan
        self._role = role
        self._instruments = instruments
        self._settings = settings
        self._subscriptions = subscriptions
        self._acknowledgements = Acknowledgements(engine, hub, self._wait_for_capacity)
        self._gateway_listeners: list[Callable[[Iterable[engine_pb2.Gateway]], None]] = []
        self.connected = False

    def on_gateways(self, listener: Callable[[Iterable[engine_pb2.Gateway]], None]) -> None:
        """Call `listener` with the engine's gateways whenever these and the instruments were read."""
        self._gateway_listeners.append(listener)

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        pause_s = FIRST_PAUSE_S
        self._hub.offer_state(connected=False)
        while True:
            try:
                await self._follow()
                _log.info("the engine ended its tick stream")
            except RedFireError as error:
                _log.info("the engine's ticks are unavailable: %s", error.message)
            except Exception:
                _log.exception("the engine's ticks cannot be read")
            finally:
                was_connected, self.connected = self.connected, False
                self._acknowledgements.end()
                self._subscriptions.disconnect()
            self._hub.offer_state(connected=False)
            pause_s = FIRST_PAUSE_S if was_connected else min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def acknowledge(self) -> None:
        """Acknowledge what was read of a feed that waits for its readers, until cancelled."""
        await self._acknowledgements.run()

    async def _wait_for_capacity(self) -> None:
        await self._hub.wait_for_capacity(self._settings().stall_s)
        await self._role.wait_for_capacity()

    async def refresh(self) -> None:
        """Ask for instruments now and then, often while there are none, and for the ticks of those that are wanted."""
        while True:
            try:
                await self._refresh()
                await self._subscriptions.refresh()
            except RedFireError as error:
                _log.debug("instruments are unavailable: %s", error.message)
            pause_s = min(REFRESH_S, self._settings().unsubscribe_after_s)
            await asyncio.sleep(pause_s if self._instruments.symbols else EMPTY_PAUSE_S)

    async def _follow(self) -> None:
        """Read one stream. Raises: StreamSilent when not even a heartbeat comes for too long."""
        hub, scan = self._hub, self._scan
        position, records = hub.position, self._role.records
        request = engine_pb2.StreamTicksRequest(
            epoch=position.epoch, position=position.number, records=records, acknowledges=True
        )
        batches = until_silent(self._stream(request), self._settings().upstream_silence_s)
        async with aclosing(batches):
            async for data in batches:
                batch = scan(data)
                if len(batch):
                    hub.publish(batch)
                    self._role.reach(hub.position.number)
                    self._acknowledgements.reach(hub.position.number)
                    if hub.paced and not self._acknowledgements.paces:
                        await self._wait_for_capacity()  # of an engine before acknowledgements: nothing else holds it
                if not batch.control:
                    continue
                message = parse_batch(batch.control)
                match message.WhichOneof("event"):
                    case "started":
                        await self._begin(message.started)
                    case "heartbeat":
                        hub.pass_time(message.heartbeat.watermarks_ns)
                    case "feed_ended":
                        await self._end(message.feed_ended)

    async def _begin(self, started: engine_pb2.StreamTicksResponse.Started) -> None:
        self._hub.begin_feed(
            Position(started.epoch, started.position),
            first_sequence=started.first_sequence,
            sequences=started.sequences,
            paced=started.paced,
        )
        self._role.begin(started)
        self._acknowledgements.begin(started)
        self.connected = True
        await self._refresh()
        await self._subscriptions.connect(on_demand=started.on_demand, known=self._hub.last_frames())
        self._hub.offer_state(connected=True)

    async def _refresh(self) -> None:
        await self._instruments.refresh()
        answer = await self._engine.ListGateways(engine_pb2.ListGatewaysRequest(page_size=1000), timeout=5.0)
        real = [gateway.gateway_name for gateway in answer.gateways if not gateway.simulated]
        self._role.learn_real_gateways(real)
        self._subscriptions.learn_real_gateways(real)
        for instrument in self._instruments.all():
            self._hub.move(instrument.symbol, instrument.gateway_name)
        for listener in self._gateway_listeners:
            listener(answer.gateways)

    async def _end(self, ended: engine_pb2.StreamTicksResponse.FeedEnded) -> None:
        self._hub.end_feed()
        await self._role.end(ended)
