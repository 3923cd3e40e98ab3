"""Staleness: symbols that are silent for longer than is usual in their session.

Usual is what each symbol showed itself: a multiple of the time between its recent ticks. A tick costs nothing here: a
sweep each second looks at the symbols that are due, and sees by their sequence whether they ticked.
"""

from collections.abc import Callable, Iterable

from services.kernel.clock import Clock
from services.quant.calendar import Calendar, SessionState
from services.quant.calendar.product import product_of

FACTOR = 20.0
"""So many times the usual interval between two ticks is too long: after chance, e^-20 of all intervals are."""
FLOOR_S = 10.0
CAP_S = 1800.0
MOST_LOOKS = 1000
"""Symbols that one sweep looks at, about 3 ms; at a session's begin all are due, and the others wait a second more."""
_LEARNED_TICKS = 10
"""Ticks after which the usual is known."""
_UNLEARNED_S = 15.0
_WEIGHT = 0.02  # of the newest interval between two ticks
_IMPLAUSIBLE = 10_000
"""Ticks a second that no symbol has: the sequence has jumped, as it does with another epoch."""
_NEVER = 1 << 62


class _Symbol:
    """A symbol that is followed: what it last showed, and what is usual for it."""

    __slots__ = (
        "_span_s", "_ticks", "due", "interval_s", "is_open", "learned", "product", "sequence", "since_s", "until_ns",
    )  # fmt: skip

    def __init__(self, name: str, sequence: int, now_s: float) -> None:
        code, _, exchange = name.rpartition(".")
        self.product = f"{product_of(code)}.{exchange}"
        self.sequence = sequence
        self.since_s = now_s  # silent since then, or less long
        self.interval_s = 0.0
        self.learned = 0  # ticks
        self._ticks, self._span_s = 0, 0.0
        self.is_open = False
        self.due = 0  # the second in which it is looked at
        self.until_ns = 0  # when `is_open` has to be asked again

    @property
    def limit_s(self) -> float:
        """The silence that is still usual."""
        return min(max(self.interval_s * FACTOR, FLOOR_S), CAP_S)

    @property
    def is_known(self) -> bool:
        """True when enough was seen of it to know what is usual."""
        return self.learned >= _LEARNED_TICKS

    def learn(self, ticks: int, span_s: float) -> None:
        """So many ticks came in a span of a session.

        It counts when the next comes: the last one before a silence holds some of that silence.
        """
        if 0 < self._ticks <= self._span_s * _IMPLAUSIBLE:
            # As if each tick had been learned alone: a long span makes up for a short one with a silence in it.
            weight = 1 - (1 - _WEIGHT) ** self._ticks if self.learned else 1.0
            self.interval_s += weight * (self._span_s / self._ticks - self.interval_s)
            self.learned += self._ticks
        self._ticks, self._span_s = ticks, span_s

    def skip(self) -> None:
        """A span that teaches nothing has passed."""
        self._ticks = 0


class Staleness:
    """Knows the stale ones of the symbols that it follows: those of live gateways, while their feed is heard."""

    def __init__(
        self,
        calendar: Calendar,
        clock: Clock,
        sequence_of: Callable[[str], int],
        on_change: Callable[[frozenset[str]], None],
    ) -> None:
        """`sequence_of(symbol)`: the sequence of its last tick, 0 before the first; `on_change(stale)`: all of them."""
        self._calendar = calendar
        self._clock = clock
        self._sequence_of = sequence_of
        self._on_change = on_change
        self._symbols: dict[str, _Symbol] = {}
        self._sessions: dict[str, tuple[bool, int]] = {}  # by product
        self._due: dict[int, list[str]] = {}  # by second
        self._swept = int(clock.monotonic())
        self._stale: set[str] = set()
        self._connected = True

    @property
    def stale(self) -> frozenset[str]:
        """Symbols that are stale now."""
        return frozenset(self._stale)

    def follow(self, symbols: Iterable[str]) -> None:
        """Follow these symbols, and no others any more. None of a recording: those keep hours of their own."""
        wanted = set(symbols)
        for symbol in self._symbols.keys() - wanted:
            del self._symbols[symbol]
        now_s = self._clock.monotonic()
        for symbol in wanted - self._symbols.keys():
            self._symbols[symbol] = _Symbol(symbol, self._sequence_of(symbol), now_s)
            self._look_again(symbol, now_s, _UNLEARNED_S)
        if gone := self._stale - wanted:
            self._stale -= gone
            self._on_change(self.stale)

    def set_connected(self, connected: bool) -> None:
        """The feed is heard or not; while it is not, nothing is stale: everything is lost."""
        if connected == self._connected:
            return
        self._connected = connected
        if connected:
            now_s = self._clock.monotonic()
            for symbol in self._symbols.values():
                symbol.since_s = now_s
        elif self._stale:
            for name in self._stale:
                self._look_again(name, self._clock.monotonic(), _UNLEARNED_S)
            self._stale.clear()
            self._on_change(self.stale)

    def sweep(self) -> None:
        """Look at what is due; to be called each second."""
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        if not self._connected:
            return
        before = self.stale
        for name in before:
            self._look(name, now_s, now_ns)
        left = MOST_LOOKS
        while self._swept <= now_s and left > 0:
            due = self._due.pop(self._swept, None)
            if due is None:
                self._swept += 1
                continue
            if len(due) > left:
                self._due[self._swept] = due[left:]
            for name in due[:left]:
                symbol = self._symbols.get(name)
                if symbol is not None and symbol.due == self._swept:
                    self._look(name, now_s, now_ns)
            left -= len(due)
        if self._stale != before:
            self._on_change(self.stale)

    def _look(self, name: str, now_s: float, now_ns: int) -> None:
        symbol = self._symbols[name]
        sequence, was_stale = self._sequence_of(name), name in self._stale
        ticked = sequence != symbol.sequence
        if now_ns >= symbol.until_ns:
            # A session began or ended: the silence before it does not count.
            symbol.is_open, symbol.until_ns = self._session(name, symbol.product, now_ns)
            symbol.since_s = now_s
            symbol.skip()
        elif ticked:
            if was_stale:
                symbol.skip()
            elif symbol.is_open:
                symbol.learn(sequence - symbol.sequence, now_s - symbol.since_s)
            symbol.since_s = now_s
        symbol.sequence = sequence
        is_stale = symbol.is_open and symbol.is_known and now_s - symbol.since_s >= symbol.limit_s
        if is_stale:
            self._stale.add(name)  # and looked at in each sweep
            symbol.due = 0
        else:
            self._stale.discard(name)
            wait_s = symbol.limit_s / 2 if symbol.is_known else _UNLEARNED_S
            self._look_again(name, now_s, min(wait_s, max(0.0, (symbol.until_ns - now_ns) / 1e9)))

    def _session(self, name: str, product: str, now_ns: int) -> tuple[bool, int]:
        """Return whether the product's session is open, and until when that is so."""
        session = self._sessions.get(product)
        if session is None or now_ns >= session[1]:
            status = self._calendar.status(name, now_ns)
            session = status.state is SessionState.OPEN, status.next_change_ns or _NEVER
            self._sessions[product] = session
        return session

    def _look_again(self, name: str, now_s: float, wait_s: float) -> None:
        symbol = self._symbols[name]
        symbol.due = max(self._swept, int(now_s + wait_s)) + 1
        self._due.setdefault(symbol.due, []).append(name)
