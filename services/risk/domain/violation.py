"""Violations: reasons to refuse an order or a cancel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.risk.domain.prices import PriceView


@dataclass(frozen=True, slots=True)
class Violation:
    """The reason, the same in words, and the numbers."""

    reason: Reason
    message: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check: none or more violations.

    In dry runs the most that would be (None: not limited); and resting orders that have to be canceled first. With
    violations and in dry runs the last price that the check went by, and its age.
    """

    violations: Sequence[Violation] = ()
    max_quantity: Decimal | None = None
    cancel_first: Sequence[str] = ()
    last: PriceView | None = None


PASSED = Verdict()


def above(reason: Reason, limit: Decimal, value: Decimal, **metadata: str) -> Iterator[Violation]:
    """A violation where the value is more than the limit."""
    if value > limit:
        name = reason.value.removeprefix("RISK_LIMIT_").lower()
        message = f"{name}: {plain(value)} is more than {plain(limit)}"
        yield refusal(reason, message, limit=plain(limit), value=plain(value), **metadata)


def refusal(reason: Reason, message: str, **metadata: str) -> Violation:
    """A violation."""
    return Violation(reason, message, metadata)
