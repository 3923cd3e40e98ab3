"""Admission of streams by the clock of the test."""

import heapq
import random

import pytest

from services.market.settings import MarketSettings
from services.market.ticks.open_streams import BURST_S, LONGEST_S, Admission


def test_so_many_are_let_in_at_once_and_the_others_as_there_is_room() -> None:
    admission = Admission()
    waits = [admission.wait_s(0.0, 10) for _ in range(120)]
    refused = waits[20:]
    assert waits[:20] == [0.0] * 20 and all(refused)
    assert refused[-1] > 5 and len(set(refused)) == 100
    # Those who come when they were told to are let in.
    for after in sorted(refused):
        assert admission.wait_s(after, 10 / 0.9) == 0.0


def test_nobody_is_sent_away_for_long() -> None:
    admission = Admission()
    waits = [admission.wait_s(0.0, 1) for _ in range(10_000)]
    assert max(waits) <= 1.1 * LONGEST_S


def test_while_streams_get_theirs_late_no_more_are_let_in() -> None:
    admission = Admission()
    assert all(admission.wait_s(number / 10, 10, late=True) for number in range(100))
    assert not admission.wait_s(10.0, 10)


@pytest.mark.parametrize("late_s", [0.0, 1.0])
def test_ten_thousand_that_come_back_together_are_let_in_within_ten_seconds_and_not_all_at_once(late_s: float) -> None:
    """They come within a second, in which those that are open already get theirs late or not; then as they are told."""
    admission, chance, per_s = Admission(), random.Random(1), MarketSettings().opens_per_s
    coming = [(chance.random(), number, 0) for number in range(10_000)]
    heapq.heapify(coming)
    let_in, refusals = [], 0
    while coming:
        now, number, refused = heapq.heappop(coming)
        if wait_s := admission.wait_s(now, per_s, late=now < late_s):
            refusals = max(refusals, refused + 1)
            heapq.heappush(coming, (now + wait_s * chance.uniform(1.0, 1.1), number, refused + 1))
        else:
            let_in.append(now)
    assert let_in[-1] <= 10
    assert refusals <= 3
    # In no span of time more than there is room for.
    for span in (1, 1000, 4000):
        for first, last in zip(let_in, let_in[span:], strict=False):
            assert span <= (BURST_S + last - first) * per_s
