"""The engine's gateways: made by class, connected, watched, and their states."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from redfire.reasons import Reason

from services.engine.settings import GatewaySettings
from services.engine.updates import Gateway, GatewayStatus
from services.engine.venue import Venue
from services.engine.vnpy.engine import VnpyEngine
from services.engine.vnpy.gateway_thread import GatewayThread, Urgency
from services.kernel.clock import Clock
from services.kernel.errors import FailedPrecondition, NotFound

log = logging.getLogger(__name__)

_LOOK_S = 0.05
_LOG_S = 1


class GatewayDisconnected(FailedPrecondition):
    """The gateway is not connected."""

    reason = Reason.GATEWAY_DISCONNECTED


@dataclass(slots=True)
class Connection:
    """One gateway and the state of its connection."""

    name: str
    venue: Venue
    simulated: bool
    settings: GatewaySettings | None
    exchanges: tuple[str, ...] = ()
    recorded: bool = False
    status: GatewayStatus = GatewayStatus.DISCONNECTED
    last_error: str = ""
    last_log: str = ""
    connect_time: datetime | None = None
    made: bool = False
    attempt: int = 0  # the number of the last connect or disconnect: events of an earlier one do not count
    settle: asyncio.TimerHandle | None = None
    syncing: object | None = None  # one for each time that it begins to send its state; None when it has
    syncing_since: float = 0.0
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    watchdog: asyncio.TimerHandle | None = None


class Gateways:
    """Gateways by name. `publish` gets each change of state.

    vnpy does not report when a gateway is connected: the first contract, account, order, position or tick shows it.
    One that sends nothing for `connect_timeout_s` after connect is in error, as with an unreachable front. Nor does it
    report when a connection is lost: CTP's gateway and its relatives keep `td_api.login_status`, which is looked at.
    """

    def __init__(
        self,
        engine: VnpyEngine,
        clock: Clock,
        connect_timeout_s: float,
        settle_s: float,
        publish: Callable[[Gateway], None],
        resolve: Callable[[Any], Any],
    ) -> None:
        """`resolve` puts secrets in the place of a setting's references to them."""
        self._engine = engine
        self._clock = clock
        self._timeout_s = connect_timeout_s
        self._settle_s = settle_s
        self._publish = publish
        self._resolve = resolve
        self._connections: dict[str, Connection] = {}

    def add(
        self,
        name: str,
        venue: Venue,
        *,
        simulated: bool,
        exchanges: tuple[str, ...],
        settings: GatewaySettings | None,
        recorded: bool = False,
    ) -> None:
        """A gateway; one with settings is made from its class when it is first connected."""
        self._connections[name] = Connection(
            name, venue, simulated, settings, exchanges, recorded, made=settings is None
        )

    def list(self) -> list[Gateway]:
        """All gateways by name."""
        return [_state(connection) for _, connection in sorted(self._connections.items())]

    def get(self, name: str) -> Gateway:
        """One gateway. Raises NotFound."""
        return _state(self._connection(name))

    def find(self, name: str) -> Gateway | None:
        """One gateway, None when there is none."""
        connection = self._connections.get(name)
        return None if connection is None else _state(connection)

    def venue(self, name: str, *, connected: bool = True) -> Venue:
        """A gateway to send orders to. Raises NotFound, or GatewayDisconnected."""
        connection = self._connection(name)
        if connected and connection.status is not GatewayStatus.CONNECTED:
            raise GatewayDisconnected(f"gateway {name} is {connection.status.lower()}", gateway_name=name)
        return connection.venue

    @property
    def is_decided(self) -> bool:
        """True when all real gateways have sent their state, or are not about to."""
        return not any(
            connection.status is GatewayStatus.CONNECTING or connection.syncing is not None
            for connection in self._connections.values()
            if connection.settings is not None
        )

    def is_connected(self, name: str) -> bool:
        """Return true when a gateway is connected."""
        connection = self._connections.get(name)
        return connection is not None and connection.status is GatewayStatus.CONNECTED

    async def connect(self, name: str, wait_s: float = 0) -> Gateway:
        """Begin to connect, and wait up to `wait_s` for what comes of it. Connected already: nothing is done."""
        connection = self._connection(name)
        if connection.status not in (GatewayStatus.CONNECTED, GatewayStatus.CONNECTING):
            connection.decided.clear()
            connection.attempt = attempt = connection.attempt + 1
            self._set(connection, GatewayStatus.CONNECTING, "")
            self._watch(connection)
            try:
                await self._connect(connection)
            except Exception as error:
                log.exception("gateway %s cannot be connected", name)
                if attempt == connection.attempt:
                    self._fail(connection, f"{type(error).__name__}: {error}")
        if wait_s:
            try:
                async with asyncio.timeout(wait_s):
                    await connection.decided.wait()
            except TimeoutError:
                log.info("gateway %s is still connecting", name)
        return _state(connection)

    async def disconnect(self, name: str) -> Gateway:
        """Disconnect."""
        connection = self._connection(name)
        connection.attempt += 1
        if connection.watchdog is not None:
            connection.watchdog.cancel()
        gateway = self._engine.main.gateways.get(name)
        if gateway is not None and connection.status is not GatewayStatus.DISCONNECTED:
            if connection.settings is None:
                gateway.close()
            else:
                # A closed vnpy gateway is not made to be connected again: the next connect makes another.
                connection.made = False
                connection.venue.renew()
                self._engine.events.silence(gateway)
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await _on_own_thread(connection.name, gateway.close)
                except TimeoutError:
                    log.warning("gateway %s does not close", name)
                except Exception:
                    log.exception("gateway %s does not close well", name)
        self._set(connection, GatewayStatus.DISCONNECTED, "")
        return _state(connection)

    def mark_alive(self, name: str) -> None:
        """Handle a sign of a gateway's life: an event that it sends only when it is connected."""
        connection = self._connections.get(name)
        if connection is None or connection.status in (GatewayStatus.CONNECTED, GatewayStatus.DISCONNECTED):
            return
        if self._is_logged_in(connection) is False:
            return  # events of its other front prove nothing
        self._connected(connection)

    def record_log(self, name: str, message: str) -> None:
        """Keep a gateway's log line: the last one explains an error best."""
        connection = self._connections.get(name)
        if connection is not None:
            connection.last_log = message
            self._check(connection)

    async def last_log(self, name: str) -> str:
        """The last log line that a gateway has sent by now, empty when there is none."""
        handled = asyncio.Event()
        self._engine.after_all(handled.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOG_S):
                await handled.wait()
        return self._connections[name].last_log

    def report_error(self, name: str, error: str) -> None:
        """Publish that an event of a gateway could not be read: its followers query its state then."""
        connection = self._connections[name]
        connection.last_error = error
        self._publish(_state(connection))

    def check_connections(self) -> None:
        """Check which gateways lost their connection, and which have one again."""
        for connection in self._connections.values():
            self._check(connection)

    async def _connect(self, connection: Connection) -> None:
        if connection.settings is None:
            self._engine.main.connect({}, connection.name)
            return
        if not connection.made:
            gateway_class = _load(connection.settings)
            gateway = self._engine.add_gateway(gateway_class, connection.name)
            connection.exchanges = tuple(exchange.value for exchange in gateway.exchanges)
            connection.made = True
        setting = {
            **self._engine.main.get_gateway(connection.name).get_default_setting(),
            **self._resolve(connection.settings.setting),
        }
        async with asyncio.timeout(self._timeout_s):
            await _on_own_thread(connection.name, self._engine.main.connect, setting, connection.name)

    def _is_logged_in(self, connection: Connection) -> bool | None:
        """Return true when a gateway of CTP's kind is logged in; None for others, or before it was made."""
        gateway = self._engine.main.gateways.get(connection.name) if connection.made else None
        status = getattr(getattr(gateway, "td_api", None), "login_status", None)
        return status if isinstance(status, bool) else None

    def _check(self, connection: Connection) -> None:
        logged_in = self._is_logged_in(connection)
        if logged_in is False and connection.status is GatewayStatus.CONNECTED:
            self._set(connection, GatewayStatus.CONNECTING, f"the connection was cut: {connection.last_log}")
        elif logged_in and connection.status is GatewayStatus.CONNECTING and connection.connect_time is not None:
            self._connected(connection)

    def _connected(self, connection: Connection) -> None:
        if connection.watchdog is not None:
            connection.watchdog.cancel()
        connection.connect_time = self._clock.now()
        self._set(connection, GatewayStatus.CONNECTED, "")

    def _settle(self, connection: Connection) -> None:
        """Wait until its orders and trades of the day have come: then the gateway's state is complete."""
        loop = asyncio.get_running_loop()
        gateway = self._engine.main.gateways.get(connection.name)
        # CTP's gateway keeps them back until it has all contracts, and begins to send them then.
        if not getattr(getattr(gateway, "td_api", None), "contract_inited", True):
            connection.syncing_since = loop.time() + _LOOK_S
        if loop.time() - connection.syncing_since >= self._settle_s:
            connection.settle = None
            self._engine.after_all(partial(self._settled, connection, connection.syncing))
        else:
            connection.settle = loop.call_later(_LOOK_S, self._settle, connection)

    def _settled(self, connection: Connection, syncing: object) -> None:
        """All its events are handled; those before it lost its connection do not count."""
        if connection.syncing is syncing is not None:
            connection.syncing = None
            connection.venue.settle()
            self._publish(_state(connection))

    def _watch(self, connection: Connection) -> None:
        def too_late() -> None:
            if connection.status is GatewayStatus.CONNECTING:
                last_log = f"; its last log line: {connection.last_log}" if connection.last_log else ""
                self._fail(connection, f"no answer within {self._timeout_s:g} s{last_log}")

        connection.watchdog = asyncio.get_running_loop().call_later(self._timeout_s, too_late)

    def _fail(self, connection: Connection, error: str) -> None:
        log.warning("gateway %s: %s", connection.name, error)
        self._set(connection, GatewayStatus.ERROR, error)

    def _set(self, connection: Connection, status: GatewayStatus, error: str) -> None:
        connection.status = status
        connection.last_error = error or connection.last_error
        if connection.settle is not None:
            connection.settle.cancel()
        connection.settle = connection.syncing = None
        if status is GatewayStatus.CONNECTED:
            connection.last_error = ""
            if connection.settings is not None:
                connection.syncing = object()
                connection.syncing_since = asyncio.get_running_loop().time()
                self._settle(connection)
        elif connection.settings is not None:
            connection.venue.cut()
        if status is not GatewayStatus.CONNECTING:
            connection.decided.set()
        self._publish(_state(connection))

    def _connection(self, name: str) -> Connection:
        connection = self._connections.get(name)
        if connection is None:
            raise NotFound("gateway", name)
        return connection


async def _on_own_thread(name: str, function: Callable[..., Any], *args: Any) -> None:
    """Run what may hang for good on a thread of its own: the process's few for such work are everybody's."""
    thread = GatewayThread(name)
    try:
        await thread.call(Urgency.OTHER, partial(function, *args)).future
    finally:
        thread.renew()


def _load(settings: GatewaySettings) -> Any:
    return getattr(importlib.import_module(settings.module), settings.class_name)


def _state(connection: Connection) -> Gateway:
    return Gateway(
        connection.name,
        connection.status,
        connection.last_error,
        connection.connect_time,
        connection.exchanges,
        connection.simulated,
        connection.recorded,
    )
