"""Resumes: what a stream gets first, and streams that wait until it can be given to them."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.market.control_messages import TickControlMessages
from services.market.ticks.chunk import Backlog, Chunk
from services.market.ticks.conflated import ConflatedSubscriber
from services.market.ticks.routes import Routes
from services.market.ticks.subscriber import LosslessSubscriber, Subscriber
from services.market.ticks.tick_ring import UNKNOWN, TickRing

NEWER_S = 5.0
"""The time in which an epoch that another replica has begun begins here too, when upstream is heard."""


class Resume(NamedTuple):
    """Sequences of an epoch by symbol, to go on behind: 0 for all of the epoch, none for the last tick.

    An empty epoch is the present one.
    """

    epoch: str
    after: Mapping[str, int]


class Resumes:
    """Begins streams: with their snapshot or, resumed, with what they missed.

    Two kinds wait. A resume in an epoch that upstream has not named yet is *held*, all of it; for a while also one in
    an epoch that is newer than the present one, as its sequences show: another replica was told of it before. A symbol
    of which the client has more than came here so far (market was killed, and the engine sends the last ticks again; or
    another replica was further) is *ahead*: its stream goes on when the symbol has come as far.
    """

    def __init__(self, routes: Routes, control: TickControlMessages) -> None:
        self._routes = routes
        self._control = control
        self._held: dict[Subscriber, Resume] = {}
        self._ahead: dict[Subscriber, dict[str, int]] = {}

    def open(self, subscriber: Subscriber, resume: Resume) -> None:
        """Begin a stream, or hold it."""
        epoch = self._routes.epoch or ""
        subscriber.start(self._control.started(subscriber.stream_id, epoch), epoch)
        if self._must_wait(resume):
            self._held[subscriber] = resume
            subscriber.epoch = resume.epoch
            for symbol, after in resume.after.items():
                subscriber.resume_behind(symbol, after)
            if self._routes.confirmed:
                self._give_up_later(subscriber, epoch)
        else:
            self._begin(subscriber, resume, epoch)

    def _give_up_later(self, subscriber: Subscriber, said: str) -> None:
        asyncio.get_running_loop().call_later(NEWER_S, self._give_up, subscriber, said)

    def _give_up(self, subscriber: Subscriber, said: str) -> None:
        """No newer epoch began while upstream was heard: the one that was named is over."""
        if subscriber not in self._held:
            return
        if not self._routes.connected:
            self._give_up_later(subscriber, said)
            return
        self._begin(subscriber, self._held.pop(subscriber), said)
        subscriber.wake()

    def close(self, subscriber: Subscriber) -> None:
        """Forget a stream whose reader left."""
        self._held.pop(subscriber, None)
        self._ahead.pop(subscriber, None)
        self._routes.route(subscriber, ())

    def change(self, subscriber: Subscriber, added: Iterable[str], removed: Iterable[str]) -> None:
        """Change the symbols of a stream; those that it carries already are left as they are."""
        new = sorted(set(added) - subscriber.symbols)
        gone = set(removed) & subscriber.symbols
        subscriber.symbols = (subscriber.symbols - gone).union(new)
        if subscriber in self._held:
            return
        ahead = self._ahead.get(subscriber, {})
        for symbol in gone:
            ahead.pop(symbol, None)
            if isinstance(subscriber, ConflatedSubscriber):
                subscriber.forget(symbol)
        for symbol in new:
            self._give(subscriber, symbol, None)
        self._reroute(subscriber)
        subscriber.wake()

    def begin_epoch(self, epoch: str, subscribers: Iterable[Subscriber]) -> None:
        """Send every stream that is not held the new epoch; what they were ahead with was the old one's."""
        message = self._control.new_epoch(epoch)
        ahead = list(self._ahead)
        self._ahead.clear()
        for subscriber in ahead:
            self._reroute(subscriber)
        for subscriber in subscribers:
            if subscriber not in self._held:
                subscriber.begin_epoch(message, epoch)

    def release(self, said: str | None) -> None:
        """Begin the streams that were held; `said` is the epoch that they were started with."""
        held = list(self._held.items())
        self._held.clear()
        for subscriber, resume in held:
            self._begin(subscriber, resume, said or "")
            subscriber.wake()

    def advance(self) -> None:
        """Let streams go on whose symbols have come as far as they are."""
        for subscriber, ahead in list(self._ahead.items()):
            by_symbol = self._routes.by_symbol
            ready = [symbol for symbol, after in ahead.items() if by_symbol[symbol].ring.sequence >= after]
            for symbol in ready:
                self._give(subscriber, symbol, ahead.pop(symbol))
            if ready:
                self._reroute(subscriber)
                subscriber.wake()

    @property
    def waiting(self) -> bool:
        """True while a stream is ahead."""
        return bool(self._ahead)

    def end(self) -> None:
        """Nothing more comes of this epoch: sequences that never came were not of it."""
        epoch = self._routes.epoch or ""
        for subscriber, ahead in list(self._ahead.items()):
            if not self._routes.live_symbols.issuperset(ahead):
                del self._ahead[subscriber]
                self._begin_other(subscriber, epoch)

    def _must_wait(self, resume: Resume) -> bool:
        routes = self._routes
        if routes.confirmed:
            return self._is_newer(resume)
        if not (resume.epoch or resume.after):
            return False
        from_first = not routes.first_sequence and 0 in resume.after.values()
        return routes.epoch is None or resume.epoch != routes.epoch or from_first

    def _is_newer(self, resume: Resume) -> bool:
        """Test whether the resume is of a newer epoch: sequences of a later one are above those of all before."""
        if resume.epoch in ("", self._routes.epoch, *self._routes.past_epochs):
            return False
        find = self._routes.find
        return any(after > find(symbol).ring.sequence > 0 for symbol, after in resume.after.items())

    def _begin(self, subscriber: Subscriber, resume: Resume, said: str) -> None:
        epoch = self._routes.epoch or ""
        if self._is_other_epoch(resume):
            self._begin_other(subscriber, epoch)
            return
        if said != epoch:
            subscriber.begin_epoch(self._control.new_epoch(epoch), epoch)
        for symbol in sorted(subscriber.symbols):
            self._give(subscriber, symbol, resume.after.get(symbol))
        self._reroute(subscriber)

    def _begin_other(self, subscriber: Subscriber, epoch: str) -> None:
        self._routes.route(subscriber, ())
        subscriber.begin_epoch(self._control.new_epoch(epoch), epoch)
        for symbol in sorted(subscriber.symbols):
            self._give(subscriber, symbol, None)
        self._reroute(subscriber)

    def _is_other_epoch(self, resume: Resume) -> bool:
        routes = self._routes
        if resume.epoch and resume.epoch != routes.epoch:
            return True
        return any(
            0 < after < routes.first_sequence - 1
            or (routes.has_ended(frozenset((symbol,))) and after > routes.find(symbol).ring.sequence)
            for symbol, after in resume.after.items()
        )

    def _give(self, subscriber: Subscriber, symbol: str, after: int | None) -> None:
        """Give the snapshot or, resumed after a sequence, what was missed since."""
        ring = self._routes.find(symbol).ring
        if after is None:
            self._give_snapshot(subscriber, symbol)
            return
        # An end before its turn comes must not forget where it was to resume.
        subscriber.resume_behind(symbol, after)
        before_first = self._routes.first_sequence or ring.first_sequence
        start = after or before_first - 1
        if start > ring.sequence:
            if after:
                self._ahead.setdefault(subscriber, {})[symbol] = after
        elif isinstance(subscriber, LosslessSubscriber):
            self._resume(subscriber, ring, start)
        elif isinstance(subscriber, ConflatedSubscriber) and ring.frame_sequence > start < ring.sequence:
            subscriber.offer(symbol, ring.frame, ring.frame_sequence)

    def _give_snapshot(self, subscriber: Subscriber, symbol: str) -> None:
        ring = self._routes.find(symbol).ring
        if isinstance(subscriber, ConflatedSubscriber):
            if ring.frame_sequence != UNKNOWN:
                subscriber.offer(symbol, ring.frame, ring.frame_sequence)
        elif isinstance(subscriber, LosslessSubscriber):
            queued = subscriber.last_queued(symbol)
            if queued is not None:  # removed and added again, while its ticks wait
                self._resume(subscriber, ring, queued)
                return
            if ring.frame_sequence != UNKNOWN:
                subscriber.resume_behind(symbol, ring.frame_sequence - 1)
                subscriber.offer(Chunk(ring.frame, 1, {symbol: ring.frame_sequence}), bounded=False)
                self._resume(subscriber, ring, ring.sequence)
                if ring.sequence > ring.frame_sequence:
                    gap = self._control.gap(symbol, ring.frame_sequence + 1, ring.sequence)
                    subscriber.offer_control(Chunk(gap, sequences={symbol: ring.sequence}))
            else:
                seen = ring.sequence >= max(self._routes.first_sequence, 1)
                subscriber.resume_behind(symbol, ring.sequence if seen else 0)

    def _resume(self, subscriber: LosslessSubscriber, ring: TickRing, after: int) -> None:
        """Give what follows, and the exchange's time that was not told meanwhile."""
        watermark_ns = self._routes.watermarks_ns.get(ring.gateway, 0) if subscriber.takes_watermarks else None
        if after < ring.sequence or watermark_ns:
            subscriber.resume(Backlog(ring, after, self._control, watermark_ns))

    def _reroute(self, subscriber: Subscriber) -> None:
        ahead = self._ahead.get(subscriber)
        if ahead is not None and not ahead:
            del self._ahead[subscriber]
        self._routes.route(subscriber, subscriber.symbols.difference(ahead) if ahead else subscriber.symbols)
