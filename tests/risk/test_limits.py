"""Limits: owners only tighten, administrators replace, defaults show through."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.domain.limits import COUNTS, NAMES, AccountLimits, LimitLoosened, Limits, SelfTradePrevention

pytestmark = pytest.mark.usefixtures("both_databases")


def values(name: str) -> st.SearchStrategy[Any]:
    if name == "self_trade_prevention":
        return st.none() | st.sampled_from(SelfTradePrevention)
    number = st.integers(0, 1000) if name in COUNTS else st.decimals(0, 1000, places=2)
    return st.none() | number


LIMITS = st.builds(Limits, **{name: values(name) for name in NAMES})


def no_looser(one: Limits, other: Limits) -> bool:
    """Return true when `one` allows nothing that `other` does not."""
    for name in NAMES:
        mine, theirs = getattr(one, name), getattr(other, name)
        if name == "self_trade_prevention":
            looser = bool(theirs) and not mine
        elif name == "duplicate_window":
            looser = (mine or 0) < (theirs or 0)
        else:
            looser = theirs is not None and (mine is None or mine > theirs)
        if looser:
            return False
    return True


@given(granted=LIMITS, defaults=LIMITS, wishes=st.lists(LIMITS, max_size=5))
def test_whatever_an_owner_asks_for_never_loosens(granted: Limits, defaults: Limits, wishes: list[Limits]) -> None:
    limits = AccountLimits().granting(granted)
    for wish in wishes:
        before = limits.in_force(defaults)
        try:
            limits.require_tighter(wish, defaults)
            limits = limits.owning(wish)
        except LimitLoosened:
            changes = Limits(**{**{n: getattr(before, n) for n in NAMES}, **wish.given()})
            chosen = bool(wish.self_trade_prevention) and bool(before.self_trade_prevention)
            assert not no_looser(changes, before) or chosen, "only what an administrator chose is refused otherwise"
        after = limits.in_force(defaults)
        assert no_looser(after, before)


@given(own=LIMITS, granted=LIMITS, defaults=LIMITS)
def test_what_an_administrator_grants_counts(own: Limits, granted: Limits, defaults: Limits) -> None:
    limits = AccountLimits(own=own).granting(granted).in_force(defaults)
    for name, value in granted.given().items():
        assert (getattr(limits, name) or 0) == value, "off is the same as not limited"


@given(limits=LIMITS)
def test_limits_are_the_same_after_being_written(limits: Limits) -> None:
    assert Limits.from_document(limits.to_document()) == limits


def test_stricter_defaults_count_for_an_owner_who_tightened_less() -> None:
    changes = Limits(max_order_quantity=Decimal(900))
    AccountLimits().require_tighter(changes, Limits(max_order_quantity=Decimal(1000)))
    own = AccountLimits().owning(changes)
    assert own.in_force(Limits(max_order_quantity=Decimal(500))).max_order_quantity == 500
    assert own.in_force(Limits(max_order_quantity=Decimal(5000))).max_order_quantity == 900


def test_a_refusal_names_the_limit() -> None:
    with pytest.raises(LimitLoosened) as refused:
        AccountLimits().require_tighter(Limits(max_open_orders=11), Limits(max_open_orders=10))
    assert refused.value.metadata == {"limit": "max_open_orders", "in_force": "10", "value": "11"}
