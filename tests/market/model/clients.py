"""Clients of market's streams, each with a ledger of what came that is checked against what was published."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
from redfire.common.v1 import common_pb2
from redfire.market.v1 import market_pb2 as pb
from redfire.market.v1.market_pb2_grpc import MarketServiceStub

from tests.harness import service_token
from tests.market.model.engine import SYMBOLS, Epoch

RETRY_S = 0.05
MOST_TRIES = 200
LATER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
SOON = [("grpc.max_reconnect_backoff_ms", 200)]


class TickClient:
    """A client that opens its stream again after whatever ended it. `lines` are its own history, for a failure's text.

    `covered` is, by symbol, the last sequence that came or that a gap named; absent where anything may come first.
    """

    conflated = False

    def __init__(
        self, name: str, addresses: Sequence[str], rng: random.Random, epochs: list[Epoch], counts: Counter[str]
    ) -> None:
        """`addresses` are those of market's replicas."""
        self.name = name
        self.symbols = set(rng.sample(SYMBOLS, rng.randint(1, len(SYMBOLS))))
        self.covered: dict[str, int] = {}
        self.epoch = ""
        self.lines: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._addresses = addresses
        self._address = rng.choice(addresses)
        self._rng = rng
        self._epochs = epochs
        self._counts = counts
        self._stream_id = ""
        self._dropped: set[str] = set()
        self._added: set[str] = set()
        """Symbols taken into the stream of which nothing came yet: their first tick may be of any epoch."""
        self._call: Any = None
        self._metadata = (("x-redfire-service", service_token("risk", "market")),)

    async def run(self) -> None:
        """Read until cancelled."""
        async with AsyncExitStack() as stack:
            stubs = {}
            for address in self._addresses:
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=SOON))
                stubs[address] = MarketServiceStub(channel)
            while True:
                try:
                    await self._read(stubs[self._address])
                except grpc.aio.AioRpcError as error:
                    self._note(f"broken off: {error.code().name}: {error.details()}")
                except asyncio.CancelledError:
                    self._note("cancelled")
                if (task := asyncio.current_task()) and task.cancelling():
                    return
                await asyncio.sleep(RETRY_S)

    def move(self) -> None:
        """Go on at another replica."""
        others = [address for address in self._addresses if address != self._address]
        self._address = self._rng.choice(others)
        self._note(f"moves to {self._address}")
        self.disconnect()

    def disconnect(self) -> None:
        """Break the stream off."""
        if self._call is not None:
            self._call.cancel()

    async def change(self) -> None:
        """Take a symbol into the running stream, or out of it."""
        stream_id, symbols = self._stream_id, self.symbols
        others = [symbol for symbol in SYMBOLS if symbol not in symbols and symbol not in self._dropped]
        if not stream_id:
            return
        request = pb.UpdateSubscriptionRequest(stream_id=stream_id)
        if others and self._rng.random() < 0.6:
            added = self._rng.choice(others)
            request.add_symbols.append(added)
            self.covered.pop(added, None)
            symbols.add(added)
            self._added.add(added)
        elif len(symbols) > 1:
            dropped = self._rng.choice(sorted(symbols))
            request.remove_symbols.append(dropped)
            symbols.discard(dropped)
            self._dropped.add(dropped)
            self.covered.pop(dropped, None)
        else:
            return
        self._note(f"changes: +{list(request.add_symbols)} -{list(request.remove_symbols)}")
        # Whatever replica is asked.
        async with grpc.aio.insecure_channel(self._rng.choice(self._addresses)) as channel:
            try:
                answer = await MarketServiceStub(channel).UpdateSubscription(
                    request, metadata=self._metadata, timeout=5
                )
            except grpc.aio.AioRpcError:
                self.disconnect()  # what became of it is not known; the next stream has the symbols of now
                return
        if stream_id == self._stream_id:
            assert set(answer.symbols) == symbols, f"{self.name}: {answer.symbols} instead of {symbols}"

    def behind(self) -> str:
        """First published tick that has not come yet, in words; empty when all have."""
        present = self._epochs[-1]
        if self.epoch != present.name:
            return f"{self.name} is in epoch {self.epoch!r} instead of {present.name}"
        for symbol in self.symbols:
            if present.ticks[symbol] and self.covered.get(symbol) != present.last(symbol):
                return f"{self.name}: {symbol} is at {self.covered.get(symbol)} instead of {present.last(symbol)}"
        return ""

    async def _read(self, stub: Any) -> None:
        request = pb.StreamTicksRequest(symbols=sorted(self.symbols), epoch=self.epoch)
        request.heartbeat_interval.FromMilliseconds(500)
        request.watermarks = not self.conflated
        resumes = bool(self.epoch)
        if resumes:
            for symbol in self.symbols:
                if symbol in self.covered:
                    request.resume_after_sequence[symbol] = self._token(symbol)
        if self.conflated:
            request.mode = pb.DELIVERY_MODE_CONFLATED
            request.min_interval.FromMilliseconds(self._rng.choice((0, 50, 300)))
        self._dropped.clear()
        self._added.clear()
        self._stream_id = ""
        self._call = stub.StreamTicks(request, metadata=self._metadata)
        self._counts["streams"] += 1
        self._note(f"opens {dict(request.resume_after_sequence)} of {self.epoch!r} at {self._address}")
        fresh = True
        async for message in _paused(self._call, self.reads):
            kind = message.WhichOneof("event")
            if kind == "started":
                self._stream_id = message.started.stream_id
                self._note(f"started in {message.started.epoch!r}")
                if message.started.epoch and message.started.epoch != self.epoch:
                    self._move(message.started.epoch, whole=False)
            elif kind == "new_epoch":
                self._note(f"new epoch {message.new_epoch.epoch}")
                if message.new_epoch.epoch != self.epoch:
                    self._move(message.new_epoch.epoch, whole=not fresh)
            elif kind == "gap":
                self._gap(message.gap)
            elif kind == "heartbeat":
                self._pass_time(message.heartbeat.watermarks_ns)
            elif kind == "end":
                self._end(message.end)
                return
            for tick in message.ticks:
                self._tick(tick)
            if kind not in ("started", "feed_state", "heartbeat") or message.ticks:
                fresh = False

    def _token(self, symbol: str) -> int:
        first = self._epoch().first_sequence
        return self.covered[symbol] if self.covered[symbol] >= first else 0

    def _epoch(self) -> Epoch:
        return next(epoch for epoch in self._epochs if epoch.name == self.epoch)

    def _move(self, epoch: str, *, whole: bool) -> None:
        """Another epoch: all of it comes, or what comes begins with the last ticks."""
        self._counts["epochs"] += 1
        self.epoch = epoch
        before_first = self._epoch().first_sequence - 1
        follow = self.symbols - self._added if whole and not self.conflated else ()
        self.covered = dict.fromkeys(follow, before_first)

    def _tick(self, tick: pb.Tick) -> None:
        self._counts["ticks"] += 1
        if tick.symbol not in self.symbols:
            assert tick.symbol in self._dropped, f"{self.name}: {tick.symbol} is not subscribed"
            return
        published = self._epoch()
        assert published.first_sequence <= tick.sequence <= published.last(tick.symbol), (
            f"{self.name}: {tick.symbol} {tick.sequence} was not published in {self.epoch}\n{self.history()}"
        )
        assert tick == published.tick(tick.symbol, tick.sequence), f"{self.name}: {tick} is not what was published"
        self._cover(tick.symbol, tick.sequence, tick.sequence)

    def _gap(self, gap: Any) -> None:
        self._counts["gaps"] += 1
        self._counts["lost"] += gap.last_sequence - gap.first_sequence + 1
        self._note(f"gap {gap.symbol} {gap.first_sequence} to {gap.last_sequence}")
        if gap.symbol in self._dropped:
            return
        published = self._epoch()
        assert published.first_sequence <= gap.first_sequence <= gap.last_sequence <= published.last(gap.symbol), (
            f"{self.name}: a gap names what was never published: {gap}\n{self.history()}"
        )
        self._cover(gap.symbol, gap.first_sequence, gap.last_sequence)

    def _pass_time(self, watermarks_ns: Mapping[str, int]) -> None:
        """Time that passes before ticks of before it have come would close bars without them."""
        for watermark_ns in watermarks_ns.values():
            self._counts["watermarks"] += 1
            mark = self._epoch().marks.get(watermark_ns)
            assert mark is not None, f"{self.name}: {watermark_ns} is no watermark of {self.epoch}\n{self.history()}"
            for symbol in self.symbols & set(self.covered):
                assert self.covered[symbol] >= mark[symbol], (
                    f"{self.name}: time passes before {symbol} {mark[symbol]} has come\n{self.history()}"
                )

    def _cover(self, symbol: str, first: int, last: int) -> None:
        covered = self.covered.get(symbol)
        self._added.discard(symbol)
        follows = covered is None or (first > covered if self.conflated else first == covered + 1)
        assert follows, f"{self.name}: {symbol} {first} comes after {covered} in {self.epoch}\n{self.history()}"
        self.covered[symbol] = last

    def _end(self, end: Any) -> None:
        self._counts[f"ended {end.reason}"] += 1
        self._note(f"end {end.reason}")
        if self.conflated or self._dropped:
            return
        assert end.epoch == self.epoch, f"{self.name}: end of {end.epoch!r} instead of {self.epoch!r}\n{self.history()}"
        assert set(end.resume_after_sequence) == self.symbols, f"{self.name}: {end} lacks some of {self.symbols}"
        for symbol in self.symbols & set(self.covered):
            assert end.resume_after_sequence[symbol] == self._token(symbol), (
                f"{self.name}: {symbol} would go on after {end.resume_after_sequence[symbol]} instead of "
                f"{self._token(symbol)}\n{self.history()}"
            )

    def history(self) -> str:
        """The last things that happened to it."""
        return "\n".join(self.lines[-40:])

    def _note(self, text: str) -> None:
        self.lines.append(f"{time.monotonic():.2f} {text}")
        del self.lines[:-200]


class ConflatedClient(TickClient):
    """A client that is content with the latest tick of each symbol."""

    conflated = True


class BarClient:
    """Follows minute bars of all symbols; a bar that comes again is the same, unless that says it is incomplete.

    A market that was killed may have closed a bar of ticks that were neither on its disk nor in the engine's ring.
    """

    def __init__(self, address: str, counts: Counter[str]) -> None:
        self.bars: dict[tuple[str, int], pb.Bar] = {}
        self._address = address
        self._counts = counts
        self._metadata = (("x-redfire-service", service_token("risk", "market")),)

    async def run(self) -> None:
        """Read until cancelled."""
        request = pb.StreamBarsRequest(symbols=SYMBOLS, interval=common_pb2.INTERVAL_1M)
        async with grpc.aio.insecure_channel(self._address, options=SOON) as channel:
            stub = MarketServiceStub(channel)
            while True:
                with suppress(grpc.aio.AioRpcError):
                    async for message in stub.StreamBars(request, metadata=self._metadata):
                        for bar in message.bars:
                            self._add(bar)
                await asyncio.sleep(RETRY_S)

    def _add(self, bar: pb.Bar) -> None:
        self._counts["bars"] += 1
        key = bar.symbol, bar.start_time.seconds
        known = self.bars.get(key, bar)
        assert bar.incomplete or known == bar, f"a bar came twice, and differs:\n{known}\n{bar}"
        self._counts["bars made anew"] += known != bar
        self.bars[key] = bar


async def _paused(call: Any, reads: asyncio.Event) -> AsyncIterator[Any]:
    """The call's messages, while `reads` is set."""
    iterator = aiter(call)
    while True:
        await reads.wait()
        try:
            message = await anext(iterator)
        except StopAsyncIteration:
            return
        yield message


async def pages(ask: Callable[[str], Any], items: str) -> list[Any]:
    """All pages of a list."""
    rows: list[Any] = []
    token, tries = "", 0
    while True:
        try:
            page = await ask(token)
        except grpc.aio.AioRpcError as error:
            # A replica that asks another one for a part says so while that one does not answer, or is late: the machine
            # may be loaded.
            tries += 1
            if error.code() not in LATER or tries > MOST_TRIES:
                raise
            await asyncio.sleep(RETRY_S)
            continue
        rows += getattr(page, items)
        token = page.next_page_token
        if not token:
            return rows
