"""Strategies: their classes and instances, the workers that run them, and what a quant imports to write one.

`from services.strategy import BaseStrategy, Tick, Bar, Order, Trade` is all that a strategy of one's own needs.
"""

from services.quant.sdk.base import BaseStrategy
from services.quant.sdk.events import Bar, Interval, Order, OrderState, Side, Tick, Trade

__all__ = ["Bar", "BaseStrategy", "Interval", "Order", "OrderState", "Side", "Tick", "Trade"]
