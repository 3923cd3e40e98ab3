"""Costs of trades: small objects, exchangeable with the fill model (see models.py)."""

from dataclasses import dataclass
from typing import Protocol


class FeeModel(Protocol):
    """The commission of one trade, in currency."""

    def commission(self, price: float, volume: float, turnover: float, offset: str, number: int) -> float:
        """`turnover` is price × volume × contract size, `offset` OPEN, CLOSE, CLOSETODAY or CLOSEYESTERDAY,
        `number` the trade's in its run, from 1."""


class SlippageModel(Protocol):
    """The loss of one trade beyond its recorded price, in currency."""

    def slippage(self, price: float, volume: float, size: float) -> float:
        """`size` is the contract's."""


@dataclass(frozen=True, slots=True)
class RateFee:
    """vnpy's: a fraction of the turnover."""

    rate: float

    def commission(self, price: float, volume: float, turnover: float, offset: str, number: int) -> float:
        """turnover × rate."""
        return turnover * self.rate


@dataclass(frozen=True, slots=True)
class FixedSlippage:
    """vnpy's: the same number of price units for each contract."""

    per_contract: float

    def slippage(self, price: float, volume: float, size: float) -> float:
        """volume × size × price units."""
        return volume * size * self.per_contract
