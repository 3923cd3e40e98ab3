"""Prices and quantities on the instrument's grid, exactly as decimals."""

from decimal import Decimal


def to_step(value: float | Decimal, step: float) -> Decimal:
    """The multiple of `step` nearest to `value`, as vnpy's round_to has it (half to even)."""
    grid = Decimal(str(step))
    if not grid:
        return Decimal(str(value))
    return round(Decimal(str(value)) / grid) * grid


def decimal_text(value: Decimal) -> str:
    """Text as the contract writes decimals: no exponent, no trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
