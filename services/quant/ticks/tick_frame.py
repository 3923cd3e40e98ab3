"""The frame of one of vnpy's ticks in pure Python: what the compiled `_tick_frame` gives, by protobuf's own encoder."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from redfire.market.v1 import market_pb2 as pb

from services.quant.ticks.frames import frame

NO_PRICE = 1e300
"""CTP writes the largest double where there is no price."""
NUMBERS = (
    *("last_price", "last_volume", "volume", "turnover", "open_interest", "open_price"),
    *("high_price", "low_price", "pre_close", "limit_up", "limit_down"),
)
_LEVELS = {
    side: [(f"{side}_price_{level}", f"{side}_volume_{level}") for level in range(1, 6)] for side in ("bid", "ask")
}


def time_ns(moment: datetime) -> int:
    """A moment as nanoseconds since 1970, exact to the microsecond; one without a zone is of the machine's."""
    return round(moment.timestamp() * 1e6) * 1000


def has_numbers(tick: Any) -> bool:
    """Test whether all of a tick's numbers, but for its levels', are some: neither NaN nor without bound, nor CTP's
    largest double. Raises: TypeError for what is no number at all."""
    fields = tick.__dict__
    return all(-NO_PRICE < fields[name] < NO_PRICE for name in NUMBERS)


def gateway_frame(tick: Any, sequence: int, day_of: Callable[[str], Callable[[int], int]]) -> bytes | None:
    """`tick_frame` of a tick of a gateway that has nothing in `extra`, and all of whose numbers are some.

    Its time is that of its `datetime`, and its trading day what `day_of(symbol)(time_ns)` says. None where `tick_frame`
    is to be called instead, since the tick is another one; in pure Python, which gains nothing by it, always.
    """
    return None


def tick_frame(tick: Any, sequence: int, time_ns: int, trading_day: int) -> bytes:
    """vnpy's TickData as field 1 of a StreamTicksResponse. Raises: TypeError, ValueError or OverflowError.

    Levels end before the first one that has no price or quantity.
    """
    bid_prices, bid_quantities = _levels(tick, "bid")
    ask_prices, ask_quantities = _levels(tick, "ask")
    message = pb.Tick(
        symbol=tick.vt_symbol,
        time_ns=time_ns,
        sequence=sequence,
        last_price=tick.last_price,
        last_quantity=tick.last_volume,
        volume=tick.volume,
        turnover=tick.turnover,
        open_interest=tick.open_interest,
        open_price=tick.open_price,
        high_price=tick.high_price,
        low_price=tick.low_price,
        pre_close_price=tick.pre_close,
        limit_up=tick.limit_up,
        limit_down=tick.limit_down,
        bid_prices=bid_prices,
        bid_quantities=bid_quantities,
        ask_prices=ask_prices,
        ask_quantities=ask_quantities,
        trading_day=trading_day,
        gateway=tick.gateway_name,
    )
    return frame(message.SerializeToString())


def _levels(tick: Any, side: str) -> tuple[list[float], list[float]]:
    fields = tick.__dict__
    prices, quantities = [], []
    for price_field, quantity_field in _LEVELS[side]:
        price = fields[price_field]
        quantity = fields[quantity_field]
        if not (0 < price < NO_PRICE and 0 <= quantity < NO_PRICE):
            break
        prices.append(price)
        quantities.append(quantity)
    return prices, quantities
