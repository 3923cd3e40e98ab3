"""Limits of an account: the defaults, what administrators granted instead, and what the owner tightened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import IntEnum
from functools import reduce
from typing import Any

from redfire.reasons import Reason

from services.kernel.decimals import plain
from services.kernel.errors import Denied


class LimitLoosened(Denied):
    """A limit would be loosened, which only an administrator may do."""

    reason = Reason.RISK_LIMIT_LOOSENED


class SelfTradePrevention(IntEnum):
    """Treatment of an order that would trade with one of the same owner; numbers are the contract's."""

    OFF = 0
    CANCEL_RESTING = 1
    CANCEL_NEW = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as the contract names them; None: not limited, or not set."""

    max_order_quantity: Decimal | None = None
    max_order_notional: Decimal | None = None
    max_position_quantity: Decimal | None = None
    max_gross_notional: Decimal | None = None
    max_open_orders: int | None = None
    max_orders_per_second: int | None = None
    max_daily_loss: Decimal | None = None
    price_collar_ratio: Decimal | None = None
    # Of one symbol on one trading day.
    max_orders_per_day: int | None = None
    max_cancels_per_day: int | None = None
    max_cancel_ratio: Decimal | None = None
    duplicate_window: Decimal | None = None  # seconds; 0: off
    self_trade_prevention: SelfTradePrevention | None = None

    @property
    def watches_behaviour(self) -> bool:
        """Return true when any limit of programme trading is on."""
        return (
            self.max_orders_per_day is not None
            or self.counts_cancels
            or bool(self.duplicate_window)
            or bool(self.self_trade_prevention)
        )

    @property
    def counts_cancels(self) -> bool:
        """Return true when cancels are limited."""
        return self.max_cancels_per_day is not None or self.max_cancel_ratio is not None

    def of_programme(self) -> "Limits":
        """The limits of a day's orders and cancels, and of repeated orders, alone."""
        return Limits(**{name: getattr(self, name) for name in PROGRAMME})

    def given(self) -> dict[str, Any]:
        """Limits that are set, by name."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}

    def strictest(self, other: "Limits") -> "Limits":
        """Limits of which each is the stricter one."""
        return Limits(**{name: stricter(name, getattr(self, name), getattr(other, name)) for name in NAMES})

    def to_document(self) -> dict[str, str]:
        """Limits that are set, as text."""
        return {name: plain(Decimal(value)) for name, value in self.given().items()}

    @classmethod
    def from_document(cls, document: Mapping[str, str]) -> "Limits":
        """Limits of a document that `to_document` made."""
        values: dict[str, Any] = {name: _KINDS.get(name, Decimal)(text) for name, text in document.items()}
        return cls(**values)


NAMES = tuple(field.name for field in fields(Limits))
PROGRAMME = ("max_orders_per_day", "max_cancels_per_day", "max_cancel_ratio", "duplicate_window")
"""Limits that a user would get anew with each account that is opened, if they were of each alone."""
COUNTS = frozenset({"max_open_orders", "max_orders_per_second", "max_orders_per_day", "max_cancels_per_day"})
# Their zero means that nothing is limited.
_MAY_BE_OFF = frozenset({"duplicate_window", "self_trade_prevention"})
_KINDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(COUNTS, int),
    "self_trade_prevention": lambda text: SelfTradePrevention(int(text)),
}
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """Limits of one account besides the defaults. `granted` replaces a default, `own` tightens what comes of it.

    Of a user there are granted ones only, which tighten what each account has. `granted_time_ns` is since when an
    administrator limits the account: what its user opened later has what is granted here, where that is stricter.
    """

    granted: Limits = NO_LIMITS
    own: Limits = NO_LIMITS
    granted_time_ns: int = 0

    def in_force(self, defaults: Limits) -> Limits:
        """The limits that count. Defaults that become stricter stay stricter than what an owner chose before."""
        return Limits(**{name: self._value(name, defaults) for name in NAMES})

    def require_tighter(self, changes: Limits, defaults: Limits) -> None:
        """Raise LimitLoosened where an owner would loosen a limit that is in force.

        Of the two ways to prevent self-trades neither is stricter: an owner chooses where no administrator did.
        """
        present, future = self.in_force(defaults), self.owning(changes).in_force(defaults)
        for name, value in changes.given().items():
            limit = getattr(present, name)
            off = name in _MAY_BE_OFF and not value
            if off and not limit:
                continue
            if off or stricter(name, value, limit) != value or getattr(future, name) != value:
                raise LimitLoosened(
                    f"{name}: {_text(value)} would loosen {_text(limit)}; only an administrator may loosen a limit",
                    limit=name,
                    in_force=_text(limit),
                    value=_text(value),
                )

    def owning(self, changes: Limits) -> "AccountLimits":
        """Limits with changes by the owner."""
        return replace(self, own=replace(self.own, **changes.given()))

    def granting(self, changes: Limits, time_ns: int = 0) -> "AccountLimits":
        """Limits with changes by an administrator, regardless of the owner's choice before."""
        freed = dict.fromkeys(changes.given())
        since_ns = time_ns if changes != NO_LIMITS == self.granted else self.granted_time_ns
        return AccountLimits(replace(self.granted, **changes.given()), replace(self.own, **freed), since_ns)

    def _value(self, name: str, defaults: Limits) -> Any:
        granted = getattr(self.granted, name)
        return stricter(name, getattr(defaults, name) if granted is None else granted, getattr(self.own, name))


def _text(value: Any) -> str:
    return value.name if isinstance(value, SelfTradePrevention) else str(value)


NO_CHANGES = AccountLimits()


def strictest_of(several: Iterable[Limits]) -> Limits:
    """Limits of which each is the strictest of several; none of none."""
    return reduce(Limits.strictest, several, NO_LIMITS)


def stricter(name: str, one: Any, other: Any) -> Any:
    """The stricter of two values of a limit, the first where both are; None, not limited, is the loosest."""
    if name == "duplicate_window":
        return max(one, other) if one is not None and other is not None else one or other
    if name == "self_trade_prevention":
        return one or other
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
