"""Positions of all of the simulated exchange's orders together: those as the broker sees them."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from services.engine.updates import PositionEffect, PositionSide, PositionUpdate, Side, TradeUpdate

# On these exchanges CLOSE takes today's positions first; elsewhere the oldest go first.
_TODAY_FIRST = {"SHFE", "INE"}


@dataclass(slots=True)
class _Holding:
    today: Decimal = Decimal(0)
    yesterday: Decimal = Decimal(0)

    def take(self, quantity: Decimal, *, today_first: bool) -> None:
        """Close as much as there is; the exchange does not know whose order it was, so it refuses none."""
        first, second = ("today", "yesterday") if today_first else ("yesterday", "today")
        for part in (first, second):
            closed = min(quantity, getattr(self, part))
            setattr(self, part, getattr(self, part) - closed)
            quantity -= closed


class SimPositions:
    """Positions by symbol and side."""

    def __init__(self, gateway_name: str) -> None:
        self._name = gateway_name
        self._holdings: dict[tuple[str, PositionSide], _Holding] = {}

    def restore(self, positions: Iterable[PositionUpdate]) -> None:
        """Go on where a run before this one stopped."""
        for position in positions:
            yesterday = position.yesterday_quantity
            self._holdings[position.symbol, position.side] = _Holding(position.quantity - yesterday, yesterday)

    def all(self) -> list[PositionUpdate]:
        """All positions that are not flat."""
        return [self._update(*key) for key, held in self._holdings.items() if held.today or held.yesterday]

    def apply(self, trade: TradeUpdate) -> PositionUpdate:
        """A fill opens or closes; the position after it."""
        opens = trade.position_effect is PositionEffect.OPEN
        long = (trade.side is Side.BUY) == opens
        side = PositionSide.LONG if long else PositionSide.SHORT
        holding = self._holdings.setdefault((trade.symbol, side), _Holding())
        if opens:
            holding.today += trade.quantity
        else:
            today_first = trade.position_effect is PositionEffect.CLOSE_TODAY or (
                trade.position_effect is PositionEffect.CLOSE and trade.symbol.rpartition(".")[2] in _TODAY_FIRST
            )
            holding.take(trade.quantity, today_first=today_first)
        return self._update(trade.symbol, side)

    def roll(self) -> list[PositionUpdate]:
        """Another trading day: what is held is yesterday's. The positions that changed by it."""
        changed = []
        for key, holding in self._holdings.items():
            if holding.today:
                holding.yesterday += holding.today
                holding.today = Decimal(0)
                changed.append(self._update(*key))
        return changed

    def _update(self, symbol: str, side: PositionSide) -> PositionUpdate:
        holding = self._holdings[symbol, side]
        return PositionUpdate(self._name, symbol, side, holding.today + holding.yesterday, holding.yesterday)
