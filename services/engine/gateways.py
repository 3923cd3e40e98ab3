"""The engine's gateways: made by class, connected, watched, and what each one's state is."""

import asyncio
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


class GatewayDisconnected(FailedPrecondition):
    """The gateway is not connected."""

    reason = Reason.GATEWAY_DISCONNECTED


@dataclass(slots=True)
class _Line:
    """One gateway and the state of its line."""

    name: str
    venue: Venue
    simulated: bool
    settings: GatewaySettings | None
    exchanges: tuple[str, ...] = ()
    status: GatewayStatus = GatewayStatus.DISCONNECTED
    last_error: str = ""
    last_log: str = ""
    connect_time: datetime | None = None
    made: bool = False
    attempt: int = 0  # the number of the last connect or disconnect: of an earlier one nothing is believed
    settle: asyncio.TimerHandle | None = None
    telling: object | None = None  # one for each time that it begins to tell what it has; None when it has
    telling_since: float = 0.0
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    watchdog: asyncio.TimerHandle | None = None


class Gateways:
    """Gateways by name. `tell` hears of each change of state.

    vnpy does not say when a gateway stands: the first contract, account, order, position or tick shows that it does.
    One that says nothing for `connect_timeout_s` after connect is in error, as with an unreachable front. Nor does it
    say when a line is cut: CTP's gateway and its relatives keep `td_api.login_status`, which is looked at.
    """

    def __init__(
        self,
        engine: VnpyEngine,
        clock: Clock,
        connect_timeout_s: float,
        settle_s: float,
        tell: Callable[[Gateway], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._timeout_s = connect_timeout_s
        self._settle_s = settle_s
        self._tell = tell
        self._lines: dict[str, _Line] = {}

    def add(
        self, name: str, venue: Venue, *, simulated: bool, exchanges: tuple[str, ...], settings: GatewaySettings | None
    ) -> None:
        """A gateway; one with settings is made from its class when it is first connected."""
        self._lines[name] = _Line(name, venue, simulated, settings, exchanges, made=settings is None)

    def list(self) -> list[Gateway]:
        """All gateways by name."""
        return [_state(line) for _, line in sorted(self._lines.items())]

    def get(self, name: str) -> Gateway:
        """One gateway. Raises NotFound."""
        return _state(self._line(name))

    def find(self, name: str) -> Gateway | None:
        """One gateway, None when there is none."""
        line = self._lines.get(name)
        return None if line is None else _state(line)

    def venue(self, name: str, *, connected: bool = True) -> Venue:
        """A gateway to send orders to. Raises NotFound, or GatewayDisconnected."""
        line = self._line(name)
        if connected and line.status is not GatewayStatus.CONNECTED:
            raise GatewayDisconnected(f"gateway {name} is {line.status.lower()}", gateway_name=name)
        return line.venue

    @property
    def is_decided(self) -> bool:
        """Whether all real gateways have told what they have, or are not about to."""
        return not any(
            line.status is GatewayStatus.CONNECTING or line.telling is not None
            for line in self._lines.values()
            if line.settings is not None
        )

    def is_connected(self, name: str) -> bool:
        """Whether a gateway's line stands."""
        line = self._lines.get(name)
        return line is not None and line.status is GatewayStatus.CONNECTED

    async def connect(self, name: str, wait_s: float = 0) -> Gateway:
        """Begin to connect, and wait up to `wait_s` for what comes of it. Connected already: nothing is done."""
        line = self._line(name)
        if line.status not in (GatewayStatus.CONNECTED, GatewayStatus.CONNECTING):
            line.decided.clear()
            line.attempt = attempt = line.attempt + 1
            self._set(line, GatewayStatus.CONNECTING, "")
            self._watch(line)
            try:
                await self._connect(line)
            except Exception as error:
                log.exception("gateway %s cannot be connected", name)
                if attempt == line.attempt:
                    self._fail(line, f"{type(error).__name__}: {error}")
        if wait_s:
            try:
                async with asyncio.timeout(wait_s):
                    await line.decided.wait()
            except TimeoutError:
                log.info("gateway %s is still connecting", name)
        return _state(line)

    async def disconnect(self, name: str) -> Gateway:
        """Cut the line."""
        line = self._line(name)
        line.attempt += 1
        if line.watchdog is not None:
            line.watchdog.cancel()
        gateway = self._engine.main.gateways.get(name)
        if gateway is not None and line.status is not GatewayStatus.DISCONNECTED:
            if line.settings is None:
                gateway.close()
            else:
                # A closed vnpy gateway is not made to be connected again: the next connect makes another.
                line.made = False
                line.venue.renew()
                self._engine.events.silence(gateway)
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await _apart(line.name, gateway.close)
                except TimeoutError:
                    log.warning("gateway %s does not close", name)
                except Exception:
                    log.exception("gateway %s does not close well", name)
        self._set(line, GatewayStatus.DISCONNECTED, "")
        return _state(line)

    def heard(self, name: str) -> None:
        """A gateway said something that it says only when its line stands."""
        line = self._lines.get(name)
        if line is None or line.status in (GatewayStatus.CONNECTED, GatewayStatus.DISCONNECTED):
            return
        if self._is_logged_in(line) is False:
            return  # what its other front says shows nothing
        self._connected(line)

    def logged(self, name: str, message: str) -> None:
        """A gateway's log line: the last one explains an error best."""
        line = self._lines.get(name)
        if line is not None:
            line.last_log = message
            self._look(line)

    def last_log(self, name: str) -> str:
        """What a gateway said last, empty when nothing."""
        return self._lines[name].last_log

    def complain(self, name: str, error: str) -> None:
        """Something that a gateway said was not understood: who follows the gateway asks it what it has."""
        line = self._lines[name]
        line.last_error = error
        self._tell(_state(line))

    def look(self) -> None:
        """See which lines were cut, and which stand again."""
        for line in self._lines.values():
            self._look(line)

    async def _connect(self, line: _Line) -> None:
        if line.settings is None:
            self._engine.main.connect({}, line.name)
            return
        if not line.made:
            gateway_class = _load(line.settings)
            gateway = self._engine.add_gateway(gateway_class, line.name)
            line.exchanges = tuple(exchange.value for exchange in gateway.exchanges)
            line.made = True
        setting = {**self._engine.main.get_gateway(line.name).get_default_setting(), **line.settings.setting}
        async with asyncio.timeout(self._timeout_s):
            await _apart(line.name, self._engine.main.connect, setting, line.name)

    def _is_logged_in(self, line: _Line) -> bool | None:
        """Whether a gateway of CTP's kind is logged in; None for others, or before it was made."""
        gateway = self._engine.main.gateways.get(line.name) if line.made else None
        status = getattr(getattr(gateway, "td_api", None), "login_status", None)
        return status if isinstance(status, bool) else None

    def _look(self, line: _Line) -> None:
        logged_in = self._is_logged_in(line)
        if logged_in is False and line.status is GatewayStatus.CONNECTED:
            self._set(line, GatewayStatus.CONNECTING, f"the line was cut: {line.last_log}")
        elif logged_in and line.status is GatewayStatus.CONNECTING and line.connect_time is not None:
            self._connected(line)

    def _connected(self, line: _Line) -> None:
        if line.watchdog is not None:
            line.watchdog.cancel()
        line.connect_time = self._clock.now()
        self._set(line, GatewayStatus.CONNECTED, "")

    def _settle(self, line: _Line) -> None:
        """Once its orders and trades of the day are told, what the gateway says it has is complete."""
        loop = asyncio.get_running_loop()
        gateway = self._engine.main.gateways.get(line.name)
        # CTP's gateway keeps them back until it has all contracts, and begins to tell them then.
        if not getattr(getattr(gateway, "td_api", None), "contract_inited", True):
            line.telling_since = loop.time() + _LOOK_S
        if loop.time() - line.telling_since >= self._settle_s:
            line.settle = None
            self._engine.after_all(partial(self._settled, line, line.telling))
        else:
            line.settle = loop.call_later(_LOOK_S, self._settle, line)

    def _settled(self, line: _Line, telling: object) -> None:
        """All that it told is taken; what it told before it was cut does not count."""
        if line.telling is telling is not None:
            line.telling = None
            line.venue.settle()
            self._tell(_state(line))

    def _watch(self, line: _Line) -> None:
        def too_late() -> None:
            if line.status is GatewayStatus.CONNECTING:
                said = f"; it said last: {line.last_log}" if line.last_log else ""
                self._fail(line, f"no answer within {self._timeout_s:g} s{said}")

        line.watchdog = asyncio.get_running_loop().call_later(self._timeout_s, too_late)

    def _fail(self, line: _Line, error: str) -> None:
        log.warning("gateway %s: %s", line.name, error)
        self._set(line, GatewayStatus.ERROR, error)

    def _set(self, line: _Line, status: GatewayStatus, error: str) -> None:
        line.status = status
        line.last_error = error or line.last_error
        if line.settle is not None:
            line.settle.cancel()
        line.settle = line.telling = None
        if status is GatewayStatus.CONNECTED:
            line.last_error = ""
            if line.settings is not None:
                line.telling = object()
                line.telling_since = asyncio.get_running_loop().time()
                self._settle(line)
        elif line.settings is not None:
            line.venue.cut()
        if status is not GatewayStatus.CONNECTING:
            line.decided.set()
        self._tell(_state(line))

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None:
            raise NotFound("gateway", name)
        return line


async def _apart(name: str, function: Callable[..., Any], *args: Any) -> None:
    """Run what may hang for good on a thread of its own: the process's few for such work are everybody's."""
    thread = GatewayThread(name)
    try:
        await thread.call(Urgency.OTHER, partial(function, *args)).future
    finally:
        thread.renew()


def _load(settings: GatewaySettings) -> Any:
    return getattr(importlib.import_module(settings.module), settings.class_name)


def _state(line: _Line) -> Gateway:
    return Gateway(line.name, line.status, line.last_error, line.connect_time, line.exchanges, line.simulated)
