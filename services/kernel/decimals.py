"""Decimals as the contract writes them."""

from decimal import Decimal


def plain(value: Decimal) -> str:
    """Text without exponent and trailing zeros: `Decimal("1.500")` → `1.5`, `Decimal("1E+3")` → `1000`."""
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def to_text(value: Decimal | None) -> str:
    """Text as of `plain`; the empty string for None."""
    return "" if value is None else plain(value)


def from_text(text: str) -> Decimal | None:
    """A decimal of a validated request; None for the empty string."""
    return Decimal(text) if text else None
