"""Slowing failed logins, with a clock that stands still."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.auth import throttle as throttle_module
from services.auth.settings import AuthSettings
from services.auth.throttle import LoginThrottle, TooManyLogins
from services.kernel.clock import ManualClock
from services.kernel.runtime.live_settings import LiveSettings
from tests.examples import examples

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def throttle(clock: ManualClock) -> LoginThrottle:
    return LoginThrottle(LiveSettings(AuthSettings()), clock)


def attempt(throttle: LoginThrottle, name: str = "alice", address: str = HERE) -> float:
    """Begin a login; the pause that was asked for instead, or 0."""
    try:
        throttle.admit(name, address)
    except TooManyLogins as error:
        return error.retry_after_s or 0.0
    return 0.0


def fail(throttle: LoginThrottle, name: str = "alice", address: str = HERE) -> float:
    """Try and fail; the pause that was asked for instead, or 0."""
    pause_s = attempt(throttle, name, address)
    if not pause_s:
        throttle.failed(name, address)
    return pause_s


def test_pauses_double_after_the_free_failures(throttle: LoginThrottle, clock: ManualClock):
    assert [fail(throttle) for _ in range(5)] == [0.0] * 5
    pauses = []
    for _ in range(4):
        pauses.append(fail(throttle))
        clock.advance(pauses[-1])
        assert fail(throttle) == 0.0
    assert pauses == pytest.approx([1, 2, 4, 8], rel=0.2)


def test_names_are_the_same_whatever_the_case(throttle: LoginThrottle):
    for _ in range(5):
        fail(throttle, "alice")
    assert fail(throttle, " ALICE ") > 0


def test_successes_are_never_slowed(throttle: LoginThrottle):
    pauses = []
    for _ in range(1000):
        pauses.append(attempt(throttle))
        throttle.succeeded("alice", HERE)
    assert pauses == [0.0] * 1000


def test_a_success_forgives_the_failures_of_that_name_and_address(throttle: LoginThrottle):
    for _ in range(4):
        fail(throttle)
    throttle.admit("alice", HERE)
    throttle.succeeded("alice", HERE)
    assert [fail(throttle) for _ in range(5)] == [0.0] * 5


def test_another_name_at_the_same_address_is_not_slowed(throttle: LoginThrottle):
    for _ in range(20):
        fail(throttle, "alice")
    assert fail(throttle, "bob") == 0.0


def test_an_address_that_tries_many_names_is_slowed(throttle: LoginThrottle):
    waits = [fail(throttle, f"user{n}") for n in range(101)]
    assert waits[:100] == [0.0] * 100
    assert waits[100] > 0
    assert fail(throttle, "somebody", THERE) == 0.0


def test_an_attacker_elsewhere_cannot_lock_the_owner_out(throttle: LoginThrottle, clock: ManualClock):
    throttle.admit("alice", HERE)
    throttle.succeeded("alice", HERE)
    for n in range(500):
        fail(throttle, "alice", f"198.51.{n % 250}.{n // 250}")
    # From where the owner logged in before: at once. From anywhere: after seconds.
    assert attempt(throttle, "alice", HERE) == 0.0
    assert 0 < attempt(throttle, "alice", "203.0.113.9") <= AuthSettings().login_account_max_delay_s
    clock.advance(AuthSettings().login_account_max_delay_s)
    assert attempt(throttle, "alice", "203.0.113.9") == 0.0


def test_neighbours_in_one_ipv6_network_count_as_one(throttle: LoginThrottle):
    for n in range(5):
        fail(throttle, "alice", f"2001:db8::{n + 1}")
    assert fail(throttle, "alice", "2001:db8::ff") > 0
    assert fail(throttle, "alice", "2001:db8:0:1::1") == 0.0


def test_of_attempts_at_once_only_one_is_let_through_when_slowed(throttle: LoginThrottle, clock: ManualClock):
    for _ in range(5):
        fail(throttle)
    clock.advance(1)
    assert attempt(throttle) == 0.0
    assert attempt(throttle) > 0


def test_failures_are_forgotten_with_time(throttle: LoginThrottle, clock: ManualClock):
    for _ in range(5):
        fail(throttle)
    clock.advance(minutes=10)
    assert [fail(throttle) for _ in range(5)] == [0.0] * 5


def test_memory_is_bounded(throttle: LoginThrottle, monkeypatch):
    monkeypatch.setattr(throttle_module, "MAX_KEYS", 100)
    for n in range(1000):
        fail(throttle, f"user{n}", f"10.0.{n // 250}.{n % 250}")
    assert max(len(throttle._pairs), len(throttle._names), len(throttle._addresses)) <= 100


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
def test_whatever_happens_the_wait_is_bounded_and_then_over(steps):
    clock = ManualClock()
    throttle = LoginThrottle(LiveSettings(AuthSettings()), clock)
    for succeeds, pause in steps:
        clock.advance(pause)
        try:
            throttle.admit("alice", HERE)
        except TooManyLogins as error:
            assert 0 < error.retry_after_s <= AuthSettings().login_max_delay_s
            clock.advance(error.retry_after_s + 0.001)
            throttle.admit("alice", HERE)
        (throttle.succeeded if succeeds else throttle.failed)("alice", HERE)
