"""Exact decimal arithmetic and the one rounding rule: amounts of money have 8 digits after the point, half to even."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal

ZERO = Decimal(0)
SCALE = Decimal("0.00000001")

# Three factors of 26 digits fit: products are exact before they are rounded once, by `amount`.
_EXACT = Context(prec=96, rounding=ROUND_HALF_EVEN)


def product(first: Decimal, *others: Decimal) -> Decimal:
    """The exact product."""
    result = first
    for factor in others:
        result = _EXACT.multiply(result, factor)
    return result


def amount(value: Decimal) -> Decimal:
    """`value` with at most 8 digits after the point, half to even."""
    return _EXACT.quantize(value, SCALE)


def share(whole: Decimal, part: Decimal, of: Decimal) -> Decimal:
    """The amount `whole × part / of`, rounded once; all when `part` is `of`, so that shares add up to the whole."""
    if part == of:
        return whole
    return amount(_EXACT.divide(_EXACT.multiply(whole, part), of))


def quotient(value: Decimal, divisor: Decimal) -> Decimal:
    """The amount `value / divisor`, rounded once."""
    return amount(_EXACT.divide(value, divisor))


def total(values: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for value in values:
        result = _EXACT.add(result, value)
    return result


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Return whether `value` is a whole number of steps; any is, of a step of zero."""
    return not step or not _EXACT.remainder(value, step)
