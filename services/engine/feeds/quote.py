"""A market snapshot as feeds make it, before it becomes vnpy's TickData."""

from dataclasses import dataclass


@dataclass(slots=True)
class Quote:
    """A snapshot of one symbol. Levels are (price, quantity), best first; prices and quantities are floats."""

    symbol: str
    time_ns: int
    trading_day: int
    last_price: float
    last_quantity: float
    volume: float
    turnover: float
    open_interest: float
    open_price: float
    high_price: float
    low_price: float
    pre_close_price: float
    limit_up: float
    limit_down: float
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
