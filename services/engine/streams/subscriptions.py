"""Subscriptions: who asked for which symbol's ticks, and the symbols that nobody asks for any more."""


class Subscriptions:
    """Subscribers by symbol.

    vnpy's gateways cannot unsubscribe: ticks of `withdrawn` symbols come on and are dropped. Those of symbols that
    nobody ever asked for are delivered as they come: SIM sends all it has.
    """

    def __init__(self) -> None:
        self._subscribers: dict[str, set[str]] = {}
        self.withdrawn: set[str] = set()

    def __contains__(self, symbol: str) -> bool:
        """Return true when somebody asks for a symbol's ticks."""
        return symbol in self._subscribers

    def add(self, symbol: str, subscriber: str) -> None:
        """A subscriber asks for a symbol's ticks; again changes nothing."""
        self._subscribers.setdefault(symbol, set()).add(subscriber)
        self.withdrawn.discard(symbol)

    def remove(self, symbol: str, subscriber: str) -> bool:
        """A subscriber asks for a symbol's ticks no more; true when nobody does now."""
        subscribers = self._subscribers.get(symbol, set())
        subscribers.discard(subscriber)
        if subscribers:
            return False
        self._subscribers.pop(symbol, None)
        self.withdrawn.add(symbol)
        return True
