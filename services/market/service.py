"""Market data for callers: streams and their owners, last ticks, history, indicators."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from redfire.reasons import Reason

from services.kernel.errors import Invalid, NotFound, ResourceExhausted
from services.kernel.redis.shared_quota import SharedQuota
from services.market.bars import indicators
from services.market.bars.bar_streams import BarStreams
from services.market.control_messages import ControlMessages, TickControlMessages
from services.market.instruments import Instruments, UnknownSymbol
from services.market.recording.tick_sources import RecordedTick
from services.market.recording.unarchived import TickPosition
from services.market.replicas.directory import Replicas, StreamNotFound
from services.market.settings import MarketSettings
from services.market.ticks.conflated import ConflatedSubscriber
from services.market.ticks.hub import Hub
from services.market.ticks.open_streams import Admission
from services.market.ticks.subscriber import LosslessSubscriber, Subscriber
from services.quant.bars import Bar, Interval

T = TypeVar("T")
MAX_SYMBOLS = 500
LONGEST_SILENCE_S = 10.0
"""Heartbeats come at least so often, whatever is asked for: the edge resets a stream that is silent for 30 s."""
DEFAULT_INDICATOR_BARS = 500


RETRY_S = (1.0, 5.0)
"""The time after which a stream that is refused may be tried again, from and to."""


class Owner(NamedTuple):
    """The owner of streams. A user has a role, by which their number is limited; a service has none."""

    name: str
    role: str = ""


class NoTick(NotFound):
    """No tick of this symbol was seen yet."""

    reason = Reason.NO_TICK


class TooManyStreams(ResourceExhausted):
    """Too many streams are open."""

    reason = Reason.OVERLOADED

    def __init__(self, limit: int) -> None:
        # Those that are refused together should not come again together.
        super().__init__(retry_after_s=round(random.uniform(*RETRY_S), 3), limit=limit)  # noqa: S311 # nosec B311


class OpenedTooFast(ResourceExhausted):
    """Too many streams are being opened at the moment."""

    reason = Reason.OVERLOADED


class Records(Protocol):
    """The queries of history."""

    async def list_ticks(
        self, symbol: str, start_ns: int | None, end_ns: int | None, after: TickPosition | None, limit: int
    ) -> list[RecordedTick]:
        """Ticks behind a position, in order."""

    async def list_bars(
        self,
        symbol: str,
        interval: Interval,
        start_ns: int | None,
        end_ns: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[Bar]:
        """Closed bars behind a (trading day, start), in this order."""

    async def bars_before(self, symbol: str, interval: Interval, end_ns: int | None, count: int) -> list[Bar]:
        """The last bars before a moment, oldest first."""

    async def knows(self, symbol: str) -> bool:
        """Return true when ticks or bars of this symbol are recorded."""


class Demand(Protocol):
    """The symbols that somebody wants, of which upstream is asked for ticks."""

    async def hold(self, symbols: Iterable[str], *, starts_feed: bool) -> None:
        """A stream of these symbols is open; it begins a feed that waits for readers, or only looks on."""

    def release(self, symbols: Iterable[str]) -> None:
        """A stream of these symbols has ended."""

    async def touch(self, symbol: str) -> None:
        """Somebody asked for the symbol's last tick."""


class MarketService(Generic[T]):
    """Market data for callers. Upstream is asked for symbols that are in demand."""

    def __init__(
        self,
        hub: Hub,
        bar_streams: BarStreams[Any],
        records: Records,
        instruments: Instruments[Any],
        demand: Demand,
        run_blocking: Callable[..., Awaitable[Any]],
        parse_tick: Callable[[bytes], T],
        tick_control: TickControlMessages,
        bar_control: ControlMessages,
        settings: Callable[[], MarketSettings],
        replicas: Replicas,
        quota: SharedQuota,
    ) -> None:
        self._hub = hub
        self._bar_streams = bar_streams
        self._records = records
        self._instruments = instruments
        self._demand = demand
        self._run_blocking = run_blocking
        self._parse_tick = parse_tick
        self._tick_control = tick_control
        self._bar_control = bar_control
        self._settings = settings
        self._replicas = replicas
        self._quota = quota
        self._admission = Admission()

    async def get_tick(self, symbol: str) -> T:
        """The last tick. Raises: NoTick, also where it is only asked for from now on."""
        await self._demand.touch(symbol)
        frame = self._hub.find_frame(symbol)
        if not frame:
            raise NoTick(message=f"no tick of {symbol} was seen yet", symbol=symbol)
        return self._parse_tick(frame)

    async def get_instrument(self, symbol: str) -> Any:
        """The instrument. Raises: UnknownSymbol."""
        return await self._instruments.get(symbol)

    def list_instruments(self, after: str, limit: int, exchange: str, product: int, query: str) -> Sequence[Any]:
        """Instruments by symbol."""
        return self._instruments.list_after(after, limit, exchange, product, query)

    async def open_ticks(
        self,
        owner: Owner,
        symbols: Iterable[str],
        *,
        conflated: bool,
        min_interval_s: float,
        heartbeat_s: float | None,
        resume_after: Mapping[str, int],
        epoch: str,
        watermarks: bool = False,
        starts_feed: bool = True,
    ) -> Subscriber:
        """Open a tick stream, the source of its encoded messages. One that only looks on starts no waiting feed.

        A lossless one has the exchanges' `watermarks`, too, if they are asked for. `resume_after` are sequences of this
        epoch, of the present one if it is empty.

        Raises: UnknownSymbol, TooManyStreams, OpenedTooFast.
        """
        symbol_set = frozenset(symbols)
        await self._instruments.require(symbol_set)
        stream_id, name = self._replicas.new_stream_id(), owner.name
        settings = await self._admit(owner, stream_id)
        beat_s = _beat_s(heartbeat_s, settings)
        subscriber: Subscriber
        if conflated:
            subscriber = ConflatedSubscriber(stream_id, name, symbol_set, self._tick_control, beat_s, min_interval_s)
        else:
            limit, on_capacity = settings.buffer_ticks, self._hub.on_capacity
            subscriber = LosslessSubscriber(stream_id, name, symbol_set, self._tick_control, beat_s, limit, on_capacity)
            subscriber.takes_watermarks = watermarks
        subscriber.stall_s = settings.stall_s
        # Registered first, so that the tick that a waiting feed begins with is not missed.
        self._hub.add(subscriber, resume_after, epoch)
        subscriber.on_close = partial(self._forget, subscriber)
        return await self._begin(subscriber, starts_feed)

    async def update_subscription(
        self, owner: str, stream_id: str, added: Sequence[str], removed: Sequence[str], *, starts_feed: bool = True
    ) -> list[str]:
        """Change the symbols of the owner's stream; the symbols it has now, sorted. A symbol in both is removed.

        Raises: StreamNotFound, UnknownSymbol, Invalid when there would be too many; ReplicaUnavailable when the stream
        is of another replica that does not answer.
        """
        if other := self._replicas.find_other(stream_id):
            return await self._replicas.update_stream(other, owner, stream_id, added, removed, starts_feed=starts_feed)
        return await self.update_own_stream(owner, stream_id, added, removed, starts_feed=starts_feed)

    async def update_own_stream(
        self, owner: str, stream_id: str, added: Sequence[str], removed: Sequence[str], *, starts_feed: bool = True
    ) -> list[str]:
        """Change a stream of this replica. Raises as `update_subscription` does."""
        self._own_stream(owner, stream_id)
        new = set(added) - set(removed)
        await self._instruments.require(new)
        stream = self._own_stream(owner, stream_id)
        if len((stream.symbols | new) - set(removed)) > MAX_SYMBOLS:
            raise Invalid(f"add_symbols: a stream carries at most {MAX_SYMBOLS} symbols", field="add_symbols")
        before = stream.symbols
        self._hub.change(stream, new, removed)
        self._demand.release(before - stream.symbols)
        await self._demand.hold(stream.symbols - before, starts_feed=starts_feed)
        return sorted(stream.symbols)

    async def open_bars(
        self,
        owner: Owner,
        symbols: Iterable[str],
        interval: Interval,
        heartbeat_s: float | None,
        *,
        starts_feed: bool = True,
    ) -> Subscriber:
        """Open a bar stream, the source of its encoded messages.

        Raises as open_ticks does; RecorderUnavailable while no bars come.
        """
        symbol_set = frozenset(symbols)
        self._bar_streams.require_source()
        await self._instruments.require(symbol_set)
        stream_id = self._replicas.new_stream_id()
        settings = await self._admit(owner, stream_id)
        beat_s, limit = _beat_s(heartbeat_s, settings), settings.buffer_ticks
        control, on_capacity = self._bar_control, self._hub.on_capacity
        subscriber = LosslessSubscriber(stream_id, owner.name, symbol_set, control, beat_s, limit, on_capacity)
        subscriber.stall_s = settings.stall_s
        self._bar_streams.add(subscriber, interval)
        self._hub.register(subscriber)
        subscriber.on_close = partial(self._forget_bars, subscriber, interval)
        return await self._begin(subscriber, starts_feed)

    async def list_ticks(
        self, symbol: str, start_ns: int | None, end_ns: int | None, after: TickPosition | None, limit: int
    ) -> list[RecordedTick]:
        """Recorded ticks behind a position, in order. Raises: UnknownSymbol."""
        await self._require_known(symbol)
        return await self._records.list_ticks(symbol, start_ns, end_ns, after, limit)

    async def list_bars(
        self,
        symbol: str,
        interval: Interval,
        start_ns: int | None,
        end_ns: int | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[Bar]:
        """Closed bars behind a (trading day, start), in this order. Raises: UnknownSymbol."""
        await self._require_known(symbol)
        return await self._records.list_bars(symbol, interval, start_ns, end_ns, after, limit)

    async def compute_indicators(
        self, symbol: str, interval: Interval, names: Sequence[str], start_ns: int | None, end_ns: int | None
    ) -> list[indicators.Series]:
        """Indicators over the bars of a range, or over the last 500 bars when it has no start.

        Raises: UnknownSymbol; Invalid for a name or a range with too many bars.
        """
        parsed = indicators.parse(names)
        await self._require_known(symbol)
        look_back = max(one.look_back for one in parsed)
        most = self._settings().max_indicator_bars
        if start_ns is None:
            bars = await self._records.bars_before(symbol, interval, end_ns, DEFAULT_INDICATOR_BARS + look_back)
            first_ns = bars[-DEFAULT_INDICATOR_BARS:][0].start_ns if bars else None
        else:
            bars = await self._records.list_bars(symbol, interval, start_ns, end_ns, None, most + 1)
            if len(bars) > most:
                raise Invalid(f"start_time: the range has more than {most} bars", field="start_time")
            bars = await self._records.bars_before(symbol, interval, start_ns, look_back) + bars
            first_ns = start_ns
        compute = partial(indicators.compute, parsed, bars, first_ns)
        return list(await self._run_blocking(compute))

    async def _admit(self, owner: Owner, stream_id: str) -> MarketSettings:
        """Count one more stream, at all replicas and then here: from the latter on nothing is waited for."""
        settings = self._settings()
        if owner.role and not await self._quota.take(owner.name, stream_id, _limit_of(owner, settings)):
            raise TooManyStreams(_limit_of(owner, settings))
        try:
            self._require_room(owner, settings)
        except ResourceExhausted:
            self._quota.release(stream_id)
            raise
        return settings

    def _require_room(self, owner: Owner, settings: MarketSettings) -> None:
        limits = [(self._hub.stream_count, settings.max_streams)]
        if owner.role:
            limit = _limit_of(owner, settings)
            limits.append((self._hub.streams_of(owner.name), limit))
        for count, limit in limits:
            if count >= limit:
                raise TooManyStreams(limit)
        if owner.role:
            wait_s = self._admission.wait_s(time.monotonic(), settings.opens_per_s, late=self._hub.late)
            if wait_s:
                raise OpenedTooFast(retry_after_s=round(wait_s, 3))

    async def _begin(self, subscriber: Subscriber, starts_feed: bool) -> Subscriber:
        try:
            await self._demand.hold(subscriber.symbols, starts_feed=starts_feed)
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    def _forget(self, subscriber: Subscriber) -> None:
        self._quota.release(subscriber.stream_id)
        self._hub.remove(subscriber)
        self._demand.release(subscriber.symbols)

    def _forget_bars(self, subscriber: LosslessSubscriber, interval: Interval) -> None:
        self._bar_streams.remove(subscriber, interval)
        self._forget(subscriber)

    def _own_stream(self, owner: str, stream_id: str) -> Subscriber:
        stream = self._hub.find_stream(stream_id)
        if stream is None or stream.user_id != owner:
            raise StreamNotFound("stream", stream_id)
        return stream

    async def _require_known(self, symbol: str) -> None:
        """Unknown instruments may have a past: a contract that expired."""
        if self._instruments.find(symbol) is not None:
            return
        try:
            await self._instruments.require((symbol,))
        except UnknownSymbol:
            if not await self._records.knows(symbol):
                raise


def _limit_of(owner: Owner, settings: MarketSettings) -> int:
    return settings.max_streams_by_role.get(owner.role, settings.max_streams_per_user)


def _beat_s(asked_s: float | None, settings: MarketSettings) -> float:
    """The interval of heartbeats: so short that a stream that is silent for long has a reader that takes nothing."""
    return min(asked_s or settings.heartbeat_s, settings.stall_s / 3, LONGEST_SILENCE_S)
