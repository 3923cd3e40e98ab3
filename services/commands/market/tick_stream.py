"""A stream of ticks that goes on where it was, whatever ends it: by epoch and sequences, with a new token if needed."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from redfire.market.v1 import market_pb2 as pb
from redfire.reasons import Reason

from services.commands.market.edge_client import EdgeClient
from services.kernel.errors import (
    DeadlineExceeded,
    Denied,
    Invalid,
    RedFireError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from services.kernel.rpc.client import messages
from services.kernel.rpc.silence import HEARTBEAT_S, until_silent

FEED_ENDED = "FEED_ENDED"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LONGEST_WAIT_S = 60.0
"""For a quota that is used up."""
OnBreak = Callable[[str], None]


class TickStream:
    """Reads ticks of symbols and keeps what is known of the stream itself.

    `epoch` is the feed's run and `sequences` the last sequence of each symbol in it (0: none yet); `missed` counts the
    ticks that are lost for good, `gap_count` the gaps that they are in, `epochs` the times that the feed began anew
    after a tick, `resumed` the times that the stream was opened again. `connected` and `stale` are the feed's last
    state; `trouble` says why the stream is not open, empty while it is, and `end_reason` how the market ended it.
    """

    def __init__(
        self,
        client: EdgeClient,
        symbols: Sequence[str],
        *,
        conflated_ms: int | None = None,
        on_break: OnBreak = lambda reason: None,
    ) -> None:
        """With `conflated_ms` only the latest tick of each symbol, at most one in so many milliseconds.

        `on_break` is called with the reason when the stream broke, and again when the next tries fail for another one.
        """
        self.epoch = ""
        self.sequences = dict.fromkeys(symbols, 0)
        self.missed = self.gap_count = self.epochs = self.resumed = 0
        self.connected = True
        self.stale: Sequence[str] = ()
        self.trouble = self.end_reason = ""
        self._client = client
        self._conflated_ms = conflated_ms
        self._on_break = on_break
        self._opened = self._settled = self._renewed = False
        self._ticked = False
        self._pause_s = _FIRST_PAUSE_S

    async def messages(self) -> AsyncGenerator[pb.StreamTicksResponse, None]:
        """Yield messages, but no heartbeats and no tick twice, until the feed ends; the first one is `started`.

        A gap that the market did not name, a jump of a symbol's sequence, is named here. Raises the kernel's errors:
        for what cannot be opened at all, and later for what trying again would not change.
        """
        while self.end_reason != FEED_ENDED:
            try:
                async with aclosing(until_silent(self._open())) as answers:
                    async for message in answers:
                        for one in self._take(message):
                            yield one
                reason = self.end_reason or "the stream was closed"
                if reason == Reason.SESSION_REVOKED:
                    raise Unauthenticated("the session was ended", reason=Reason.SESSION_REVOKED)
            except RedFireError as error:
                await self._recover(error)
                reason = error.message
            if self.end_reason == FEED_ENDED:
                return
            await self._pause(reason)

    def _request(self) -> pb.StreamTicksRequest:
        request = pb.StreamTicksRequest(symbols=list(self.sequences), mode=pb.DELIVERY_MODE_LOSSLESS)
        if self._conflated_ms is not None:
            request.mode = pb.DELIVERY_MODE_CONFLATED
            request.min_interval.FromMilliseconds(self._conflated_ms)
        request.heartbeat_interval.seconds = HEARTBEAT_S
        if self._settled:
            # Of a symbol without a tick in a known epoch nothing was received: all of it is to come.
            request.epoch = self.epoch
            known = {name: last for name, last in self.sequences.items() if last or self.epoch}
            request.resume_after_sequence.update(known)
        return request

    def _open(self) -> AsyncGenerator[pb.StreamTicksResponse, None]:
        self.end_reason = ""
        return messages(self._client.market.StreamTicks(self._request(), metadata=self._client.metadata))

    def _take(self, message: pb.StreamTicksResponse) -> list[pb.StreamTicksResponse]:
        """Messages for the reader: this one without what is known already, and gaps that nobody named."""
        kind = message.WhichOneof("event")
        if kind == "started":
            self._begin(message.started)
            return [message]
        self._settled = True
        if kind != "end":
            self._pause_s = _FIRST_PAUSE_S
        match kind:
            case None:
                return self._take_ticks(message)
            case "heartbeat":
                return []
            case "new_epoch":
                self._begin_epoch(message.new_epoch.epoch)
            case "gap":
                self._add_gap(message.gap)
            case "feed_state":
                self.connected, self.stale = message.feed_state.connected, list(message.feed_state.stale_symbols)
            case "end":
                self.end_reason = message.end.reason
        return [message]

    def _take_ticks(self, message: pb.StreamTicksResponse) -> list[pb.StreamTicksResponse]:
        taken: list[pb.StreamTicksResponse] = []
        ticks: list[pb.Tick] = []
        for tick in message.ticks:
            last = self.sequences.get(tick.symbol, 0)
            if tick.sequence <= last:
                continue
            if last and tick.sequence > last + 1 and self._conflated_ms is None:
                if ticks:
                    taken.append(pb.StreamTicksResponse(ticks=ticks))
                    ticks = []
                gap = {"symbol": tick.symbol, "first_sequence": last + 1, "last_sequence": tick.sequence - 1}
                taken.append(pb.StreamTicksResponse(gap=gap))
                self._add_gap(taken[-1].gap)
            self.sequences[tick.symbol] = tick.sequence
            ticks.append(tick)
        self._ticked = True
        if not taken and len(ticks) == len(message.ticks):
            return [message]
        return [*taken, pb.StreamTicksResponse(ticks=ticks)] if ticks else taken

    def _begin(self, started: pb.StreamTicksResponse.Started) -> None:
        self.resumed += self._opened
        self._opened, self._renewed, self.trouble = True, False, ""
        if not self.epoch:
            self.epoch = started.epoch
        elif started.epoch not in ("", self.epoch):
            self._begin_epoch(started.epoch)

    def _begin_epoch(self, epoch: str) -> None:
        if epoch == self.epoch:  # a market that knew none at first names the one that was asked for
            return
        self.epochs += self._ticked
        self.epoch = epoch
        self.sequences = dict.fromkeys(self.sequences, 0)

    def _add_gap(self, gap: pb.StreamTicksResponse.Gap) -> None:
        self.missed += gap.last_sequence - gap.first_sequence + 1
        self.gap_count += 1
        if gap.symbol in self.sequences:
            self.sequences[gap.symbol] = max(self.sequences[gap.symbol], gap.last_sequence)

    async def _recover(self, error: RedFireError) -> None:
        """Do what the next try needs. Raises the error where there is nothing to do."""
        if not self._opened or isinstance(error, Invalid | Denied):
            raise error
        if isinstance(error, Unauthenticated):
            if self._renewed:
                raise error
            try:
                await self._client.renew(error)
                self._renewed = True
            except (Unavailable, DeadlineExceeded, ResourceExhausted):
                return  # the next try is refused again, and renews again
        elif error.retry_after_s is not None:
            self._pause_s = max(self._pause_s, min(error.retry_after_s, _LONGEST_WAIT_S))

    async def _pause(self, reason: str) -> None:
        if reason != self.trouble:
            self.trouble = reason
            self._on_break(reason)
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311 jitter, not a secret # nosec B311
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        await self._client.find_again()
