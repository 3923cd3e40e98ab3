"""Instruments, and their prices."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Instrument:
    """Rules of a contract; its price stands still."""

    price_tick: Decimal
    contract_size: Decimal
    margin_rate: Decimal
    last_price: Decimal


INSTRUMENTS = {
    "rb2705.SHFE": Instrument(Decimal(1), Decimal(10), Decimal("0.1"), Decimal(3500)),
    "cu2705.SHFE": Instrument(Decimal(10), Decimal(5), Decimal("0.1"), Decimal(78000)),
}
