"""Conflated streams: the latest frame of each symbol, and the streams that take it in phases of their interval.

What a tick costs: its frame is stored and a version counted, however many streams there are. A stream with an interval
belongs to a phase of it; when the phase is due, what is newer than the stream's version is joined, once for all streams
of the same symbols. So a symbol comes at most once in each interval, together with the stream's others, and its latest
tick not later than the interval after it came. Streams without an interval are woken by ticks, once for many of them.
Nothing is queued for a stream: one that reads slowly finds the latest when it comes back.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable

from services.market.control_messages import ControlMessages
from services.market.ticks.chunk import EpochChange
from services.market.ticks.subscriber import Subscriber

PHASE_S = 0.05
PHASES = 20
"""Phases of an interval, at least; they are PHASE_S apart at most."""

SHORTEST_S = 0.01
"""The interval of streams that ask for a shorter one, which would keep the loop busy."""

WAKES = 256
"""Streams woken in one turn of the loop: other work comes between two turns. With 8 each message took 9 % more CPU, and
10,000 streams were open after 16 s, not 12. Of 10,000, eight turns, as an order takes, are 0.1 ms in the median and
3.2 ms in 95 of 100; with 16 they are 0.3 and 2.6 ms."""
SHARE = 4
"""Of those that wait, at least so large a part in a turn: turns are long while thousands of streams are opened, or told
to come again, and those that run must not be late for that, or nobody would be let in any more."""

LATE_S = 1.0
MANY_STREAMS = 500
"""Fewer streams than that are not why they are late."""

FEW_STREAMS = 8
WRITE_S = 60e-6
"""The cost of a message for the loop, about (measured)."""
LONGEST_PAUSE_S = 0.02


class Latest:
    """A symbol's latest frame. `version` counts the ticks of all symbols; 0 before the symbol's first one."""

    __slots__ = ("frame", "sequence", "symbol", "version", "wakes")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.frame = b""
        self.sequence = 0
        self.version = 0
        self.wakes: dict[ConflatedGroup, None] = {}
        """The groups without an interval, which its ticks wake."""


class Joined:
    """Frames joined for a stream; `version` is that of the newest tick then."""

    __slots__ = ("data", "sequences", "version")

    def __init__(self, latest: Iterable[Latest], version: int) -> None:
        chosen = list(latest)
        self.data = b"".join([one.frame for one in chosen])
        self.sequences = {one.symbol: one.sequence for one in chosen}
        self.version = version


class Member:
    """A stream in a group. All up to `version` was given to it; `due` while it may take what is newer."""

    __slots__ = ("due", "group", "stream", "version")

    def __init__(self, stream: "ConflatedSubscriber", group: "ConflatedGroup", version: int) -> None:
        self.stream = stream
        self.group = group
        self.version = version
        self.due = False


class ConflatedGroup:
    """The streams of one set of symbols and one phase: they share what is joined for them."""

    __slots__ = ("_joined", "_takers", "conflation", "latest", "members", "phase", "symbols")

    def __init__(
        self, conflation: "Conflation", symbols: frozenset[str], phase: "Phase | None", latest: list[Latest]
    ) -> None:
        self.conflation = conflation
        self.symbols = symbols
        self.phase = phase
        self.latest = latest
        self.members: dict[Member, None] = {}
        self._joined: dict[int, Joined] = {}
        self._takers = 0

    def turn(self) -> list[Member]:
        """Begin a turn: the members for which there is something, but for those that have not taken the last one."""
        newest = max([one.version for one in self.latest])
        ready = [member for member in self.members if member.version < newest and not member.due]
        for member in ready:
            member.due = True
        self._joined.clear()
        self._takers = len(ready)
        return ready

    def join(self, after: int) -> Joined:
        """The frames that are newer than `after`, joined once in a turn."""
        joined = self._joined.get(after)
        if joined is None:
            joined = Joined([one for one in self.latest if one.version > after], self.conflation.version)
            if self._takers > 1:
                self._joined[after] = joined
        self._takers -= 1
        if self._takers <= 0:
            self._joined.clear()
        return joined


class Phase:
    """The groups that are due together, every `interval_s`."""

    def __init__(self, key: tuple[float, int], due_at: float, conflation: "Conflation") -> None:
        self.key = key
        self.groups: dict[frozenset[str], ConflatedGroup] = {}
        self._interval_s = key[0]
        self._due_at = due_at
        self._conflation = conflation
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(due_at, self._turn)

    def stop(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _turn(self) -> None:
        # What the loop was late for is not made up for.
        late_s = self._conflation.turn_late_s = max(0.0, self._loop.time() - self._due_at)
        missed = late_s // self._interval_s
        self._due_at += (missed + 1) * self._interval_s
        self._timer = self._loop.call_at(self._due_at, self._turn)
        self._conflation.wake([member for group in self.groups.values() for member in group.turn()])


class ConflatedSubscriber(Subscriber):
    """The latest frame per symbol, at most one per `min_interval_s`. A Conflation feeds it."""

    lossless = False

    def __init__(
        self,
        stream_id: str,
        user_id: str,
        symbols: frozenset[str],
        control: ControlMessages,
        heartbeat_s: float,
        min_interval_s: float,
    ) -> None:
        super().__init__(stream_id, user_id, symbols, control, heartbeat_s)
        self.min_interval_s = min_interval_s
        self.members: dict[Member, None] = {}
        """One for the symbols it began with, and one for those of each later addition; no symbol is in two."""
        # Lists, which are short: an empty deque takes 760 bytes.
        self._due: list[Member] = []
        self._first: list[dict[str, tuple[bytes, int]] | tuple[EpochChange, int, int]] = []

    def offer(self, symbol: str, frame: bytes, sequence: int) -> None:
        """Queue a symbol's last tick, with which the stream begins: it is sent at once."""
        if not self._first or not isinstance(self._first[-1], dict):
            self._first.append({})
        snapshot = self._first[-1]
        assert isinstance(snapshot, dict)
        snapshot[symbol] = frame, sequence
        self.wake()

    def forget(self, symbol: str) -> None:
        """Drop the last tick of a symbol that is no longer subscribed."""
        for snapshot in self._first:
            if isinstance(snapshot, dict):
                snapshot.pop(symbol, None)

    def take_turn(self, member: Member) -> None:
        """Let the writer take what is new for a member."""
        self._due.append(member)
        self.wake()

    def last_queued(self, symbol: str) -> int | None:
        """None: what comes again after it was removed is the latest, whatever was before."""
        return None

    def _offer_epoch(self, change: EpochChange) -> None:
        # Behind the ticks up to `before`, which are of the epoch before, and instead of those up to `version`, of which
        # the epoch was not even told.
        before = version = max((member.group.conflation.version for member in self.members), default=0)
        while any(isinstance(one, tuple) for one in self._first):
            last = self._first.pop()
            if isinstance(last, tuple):
                before = last[1]
        self._first.append((change, before, version))

    def _take(self) -> bytes:
        while self._first:
            first = self._first[0]
            if isinstance(first, tuple):
                change, before, version = first
                if older := self._join_all(before):
                    return older
                del self._first[0]
                for member in self.members:
                    member.version = max(member.version, version)
                return self._take_epoch(change)
            del self._first[0]
            if first:
                self.sent.update((symbol, sequence) for symbol, (_, sequence) in first.items())
                return b"".join([frame for frame, _ in first.values()])
        while self._due:
            member = self._due.pop(0)
            member.due = False
            if member in self.members:
                joined = member.group.join(member.version)
                member.version = joined.version
                if joined.data:
                    self.sent.update(joined.sequences)
                    return joined.data
        return self._join_all() if self.end_reason else b""

    def _join_all(self, up_to: int | None = None) -> bytes:
        """New ticks for all members, their turn or not; with `up_to` none after that version."""
        parts = []
        for member in self.members:
            last = member.group.conflation.version if up_to is None else up_to
            joined = Joined([one for one in member.group.latest if member.version < one.version <= last], last)
            member.version = max(member.version, last)
            self.sent.update(joined.sequences)
            parts.append(joined.data)
        return b"".join(parts)


class Conflation:
    """The latest tick of each symbol, and the conflated streams that it goes to."""

    def __init__(self) -> None:
        self.version = 0
        self.turn_late_s = 0.0
        """Delay of the last phase's turn."""
        self._members = 0
        self._latest: dict[str, Latest] = {}
        self._phases: dict[tuple[float, int], Phase] = {}
        self._instant: dict[frozenset[str], ConflatedGroup] = {}
        self._touched: dict[ConflatedGroup, None] = {}
        self._flush: asyncio.Handle | None = None
        self._flushed_at = 0.0
        self._waking: deque[tuple[float, Member]] = deque()

    @property
    def late(self) -> bool:
        """True while so many streams run that they get theirs late: no time for more of them."""
        if self._members < MANY_STREAMS or not self._phases:
            return False
        waking_s = asyncio.get_running_loop().time() - self._waking[0][0] if self._waking else 0.0
        return max(self.turn_late_s, waking_s) > LATE_S

    def put(self, symbol: str, frame: bytes, sequence: int) -> None:
        """Store a tick as its symbol's latest."""
        latest = self._latest.get(symbol)
        if latest is None:
            latest = self._latest[symbol] = Latest(symbol)
        self.version += 1
        latest.frame, latest.sequence, latest.version = frame, sequence, self.version
        if latest.wakes:
            self._touched.update(latest.wakes)
            if self._flush is None:
                self._flush_soon()

    def route(self, stream: ConflatedSubscriber, symbols: frozenset[str]) -> None:
        """Deliver the ticks of these symbols that come from now on; those that it has already go on in their turn."""
        routed: set[str] = set()
        for member in list(stream.members):
            kept = member.group.symbols & symbols
            routed |= kept
            if len(kept) < len(member.group.symbols):
                if kept:
                    again = self._enter(stream, kept, member.version, member.group.phase)
                    if member.due:
                        again.due = True
                        stream.take_turn(again)
                self._leave(member)
        # The set itself where all is new: its copy would be what a stream takes most memory for.
        if added := symbols - routed if routed else symbols:
            for symbol in added:
                if symbol not in self._latest:
                    self._latest[symbol] = Latest(symbol)
            self._enter(stream, added, self.version, self._phase(stream.min_interval_s))

    def wake(self, members: list[Member]) -> None:
        """Give each its turn, some in each turn of the loop."""
        now, draining = asyncio.get_running_loop().time(), bool(self._waking)
        self._waking.extend([(now, member) for member in members])
        if not draining:
            self._drain()

    def _enter(self, stream: ConflatedSubscriber, symbols: frozenset[str], version: int, phase: Phase | None) -> Member:
        groups = phase.groups if phase is not None else self._instant
        group = groups.get(symbols)
        if group is None:
            latest = [self._latest[symbol] for symbol in sorted(symbols)]
            group = groups[symbols] = ConflatedGroup(self, symbols, phase, latest)
            if phase is None:
                for one in latest:
                    one.wakes[group] = None
        member = Member(stream, group, version)
        group.members[member] = None
        stream.members[member] = None
        self._members += 1
        return member

    def _leave(self, member: Member) -> None:
        group, phase = member.group, member.group.phase
        member.stream.members.pop(member, None)
        group.members.pop(member, None)
        self._members -= 1
        if group.members:
            return
        if phase is None:
            del self._instant[group.symbols]
            self._touched.pop(group, None)
            for one in group.latest:
                del one.wakes[group]
        else:
            del phase.groups[group.symbols]
            if not phase.groups:
                phase.stop()
                del self._phases[phase.key]

    def _phase(self, interval_s: float) -> Phase | None:
        """The phase of an interval that begins now; None without an interval."""
        if not interval_s:
            return None
        interval_s = max(interval_s, SHORTEST_S)
        count = max(PHASES, math.ceil(interval_s / PHASE_S))
        now = int(asyncio.get_running_loop().time() / interval_s * count)
        key = (interval_s, now % count)
        phase = self._phases.get(key)
        if phase is None:
            phase = self._phases[key] = Phase(key, now * interval_s / count + interval_s, self)
        return phase

    def _flush_soon(self) -> None:
        """Wake the touched groups: soon, or so rarely that many streams' writes leave the loop time."""
        loop = asyncio.get_running_loop()
        streams = sum(len(group.members) for group in self._touched)
        wait_s = self._flushed_at + min(streams * WRITE_S, LONGEST_PAUSE_S) - loop.time()
        if streams > FEW_STREAMS and wait_s > 0:
            self._flush = loop.call_later(wait_s, self._wake_touched)
        else:
            self._flush = loop.call_soon(self._wake_touched)

    def _wake_touched(self) -> None:
        self._flush = None
        self._flushed_at = asyncio.get_running_loop().time()
        touched, self._touched = self._touched, {}
        self.wake([member for group in touched for member in group.turn()])

    def _drain(self) -> None:
        waking = self._waking
        for _ in range(min(len(waking), max(WAKES, len(waking) // SHARE))):
            _, member = waking.popleft()
            member.stream.take_turn(member)
        if waking:
            asyncio.get_running_loop().call_soon(self._drain)
