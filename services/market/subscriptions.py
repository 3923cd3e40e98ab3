"""Subscriptions: the symbols whose ticks the engine is asked for.

Of a simulated gateway, or one that replays a recording, all of them; where its feed waits for readers, those that a
user asked for. Of a real gateway, which may have tens of thousands, those that somebody streams, that were asked for
lately, and those that settings name. One that nobody wants any more is withdrawn after a while. What is not
subscribed is no part of the feed: its ticks have no sequence, and are not missed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from redfire.engine.v1 import engine_pb2

from services.kernel.clock import Clock
from services.kernel.errors import RedFireError
from services.market.instruments import Instruments
from services.market.settings import MarketSettings


class Subscriptions:
    """Subscriptions at the engine: symbols that streams want, and those that were asked for."""

    def __init__(
        self,
        engine: Any,
        instruments: Instruments[Any],
        clock: Clock,
        settings: Callable[[], MarketSettings],
        subscriber: str,
    ) -> None:
        """`subscriber` is the name that the engine knows this replica by: what others asked for is theirs."""
        self._subscriber = subscriber
        self._engine = engine
        self._instruments = instruments
        self._clock = clock
        self._settings = settings
        self._held: Counter[str] = Counter()
        self._wanted_until: dict[str, float] = {}
        """By symbol that nobody streams, when it is withdrawn (monotonic seconds)."""
        self._starting: set[str] = set()
        """Symbols by which a feed that waits for readers is begun."""
        self._real_gateways: frozenset[str] = frozenset()
        self._asked: set[str] = set()
        """Symbols that the engine was asked for and that were not withdrawn."""
        self._asking = asyncio.Lock()
        """Held while the engine is asked, so that a withdrawal never overtakes what is asked for behind it."""
        self._on_demand = False
        self._connected = False
        self._was_connected = False

    def learn_real_gateways(self, names: Iterable[str]) -> None:
        """Learn the gateways that are not simulated; until they are known, none is."""
        self._real_gateways = frozenset(names)

    async def connect(self, *, on_demand: bool, known: Iterable[str] = ()) -> None:
        """Ask the engine, which may have forgotten, for all that is wanted.

        `on_demand`: the simulated feed waits for readers. `known` are symbols that had ticks before: those of an
        earlier run of ours are wanted for a while, until their readers are back. Raises: RedFireError.
        """
        if not self._was_connected:
            for symbol in known:
                self._want_for_a_while(symbol)
        self._was_connected = True
        self._on_demand, self._connected = on_demand, True
        async with self._asking:
            await self._ask(self._wanted())

    def disconnect(self) -> None:
        """The engine is not there: nothing is asked for until it is."""
        self._connected = False

    async def refresh(self) -> None:
        """Ask for what is wanted by now, and withdraw what is not any more. Raises: RedFireError."""
        if not self._connected:
            return
        async with self._asking:
            await self._ask(self._wanted() - self._asked)
            wanted = self._wanted()
            await self._withdraw({symbol for symbol in self._asked - wanted if self._is_real(symbol)})

    async def hold(self, symbols: Iterable[str], *, starts_feed: bool) -> None:
        """A stream of these symbols is open, until `release`.

        It begins a feed that waits for readers (`starts_feed`), or only looks on. Raises: RedFireError.
        """
        new = set(symbols)
        self._held.update(new)
        if starts_feed:
            self._starting |= new
        await self._ask_now(new)

    def release(self, symbols: Iterable[str]) -> None:
        """A stream of these symbols has ended."""
        for symbol in symbols:
            self._held[symbol] -= 1
            if self._held[symbol] <= 0:
                del self._held[symbol]
                self._want_for_a_while(symbol)

    async def touch(self, symbol: str) -> None:
        """Somebody asked for the symbol's last tick: it is wanted for a while."""
        if self._is_real(symbol):
            self._want_for_a_while(symbol)
            with suppress(RedFireError):  # asked for again at the next refresh
                await self._ask_now({symbol})

    def _want_for_a_while(self, symbol: str) -> None:
        if self._is_real(symbol) or not self._real_gateways:
            self._wanted_until[symbol] = self._clock.monotonic() + self._settings().unsubscribe_after_s

    def _is_real(self, symbol: str) -> bool:
        instrument = self._instruments.find(symbol)
        return instrument is not None and instrument.gateway_name in self._real_gateways

    def _wanted(self) -> set[str]:
        now = self._clock.monotonic()
        for symbol in [symbol for symbol, until in self._wanted_until.items() if until <= now]:
            del self._wanted_until[symbol]
        return {symbol for symbol in self._instruments.symbols if self._wants(symbol)}

    def _wants(self, symbol: str) -> bool:
        if not self._is_real(symbol):
            return not self._on_demand or symbol in self._starting
        if symbol in self._held or symbol in self._wanted_until:
            return True
        return any(fnmatchcase(symbol, pattern) for pattern in self._settings().record_symbols)

    async def _ask_now(self, symbols: set[str]) -> None:
        if self._connected and any(self._wants(symbol) for symbol in symbols - self._asked):
            async with self._asking:
                await self._ask({symbol for symbol in symbols - self._asked if self._wants(symbol)})

    async def _ask(self, symbols: set[str]) -> None:
        if symbols:
            self._asked |= symbols
            try:
                request = engine_pb2.SubscribeRequest(symbols=sorted(symbols), subscriber=self._subscriber)
                await self._engine.Subscribe(request)
            except BaseException:
                self._asked -= symbols
                raise

    async def _withdraw(self, symbols: set[str]) -> None:
        if symbols:
            self._asked -= symbols
            try:
                request = engine_pb2.UnsubscribeRequest(symbols=sorted(symbols), subscriber=self._subscriber)
                await self._engine.Unsubscribe(request)
            except BaseException:
                self._asked |= symbols
                raise
