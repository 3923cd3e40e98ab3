"""A finding: something in the books that is not as it must be."""

from dataclasses import dataclass, field
from decimal import Decimal

from services.kernel.decimals import plain

MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference: the check, what it expected and found, and of what. Amounts are decimals as text."""

    check: str
    message: str
    expected: str = ""
    found: str = ""
    user_id: str = ""
    account_id: str = ""
    order_id: str = ""
    # Of what besides: a transaction, a trade, a symbol and side, an event.
    subject: str = ""


@dataclass(slots=True)
class Findings:
    """Findings of a run; of very many the first ones are kept, and all are counted."""

    kept: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, finding: Finding) -> None:
        """Keep a finding."""
        self.count += 1
        if len(self.kept) < MOST_KEPT:
            self.kept.append(finding)

    def differ(self, check: str, message: str, expected: Decimal, found: Decimal, **of: str) -> None:
        """Keep a finding where two amounts are not the same."""
        if expected != found:
            self.add(Finding(check, message, plain(expected), plain(found), **of))
